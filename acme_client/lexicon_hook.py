"""`hopward-dns`: TXT records by whichever provider dns-lexicon speaks to.

    hopward-dns PROVIDER present|cleanup NAME VALUE

Law: a `dns_hook` as `dns` wants it. It ends with 0 when every name server of the zone shows the
record, and otherwise with 1 and one line that holds no credentials.

Credentials and whatever else a provider needs come from Lexicon's own environment variables, for
instance LEXICON_CLOUDFLARE_AUTH_TOKEN. Where NAME is an alias (CNAME), the record is set where it
leads, so that validation can live in a zone of its own (RFC 8555 §8.4 has authorities follow it).
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

try:
    import dns.exception
    import dns.name
    import dns.resolver
    from lexicon.client import Client
    from lexicon.config import ConfigResolver
except ImportError as error:
    MISSING: str | None = f"{error}; pip install 'hopward[dns]'"
else:
    MISSING = None

# Providers take seconds to minutes until the last of their name servers knows.
LONGEST = 300.0
PAUSE = 2.0
ONE_QUESTION = 5.0
# The record is asked for by few and for a short time; several providers refuse less.
TTL = 300


class NotVisibleError(Exception):
    """A name server does not show the record in time."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 with one line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # one value in 64 begins with a dash (base64url), and is no option
    if words[-3:-2] in (["present"], ["cleanup"]):
        words.insert(-1, "--")
    chosen = _parser().parse_args(words)
    if MISSING:
        print(f"hopward-dns: {MISSING}", file=sys.stderr)
        return 1
    # the one line is ours: what libraries warn of on the way would be taken for it
    logging.disable(logging.CRITICAL)
    try:
        _do(chosen)
    except Exception as error:  # noqa: BLE001 (each provider has exceptions of its own)
        print(f"hopward-dns: {chosen.provider}: {_in_words(error)}", file=sys.stderr)
        return 1
    return 0


def _do(chosen: argparse.Namespace) -> None:
    if chosen.resolver:
        dns.resolver.default_resolver = _resolver([chosen.resolver], chosen.port)
    name = dns.resolver.canonical_name(chosen.name).to_text(omit_final_dot=True)
    with Client(_settings(chosen.provider, name)) as operations:
        if chosen.action == "cleanup":
            operations.delete_record(rtype="TXT", name=name, content=chosen.value)
            return
        operations.create_record("TXT", name, chosen.value)
    if chosen.wait:
        _await_everywhere(name, chosen.value, chosen.port, time.monotonic() + chosen.wait)


def _settings(provider: str, name: str) -> ConfigResolver:
    """What the environment says comes first."""
    # Lexicon's other way to find the zone is a list of suffixes that it downloads.
    ours = {"provider_name": provider, "domain": name, "resolve_zone_name": True, "ttl": TTL}
    resolver = ConfigResolver()  # type: ignore[no-untyped-call]
    return resolver.with_env().with_dict(ours)


# ---- until it can be seen


def _await_everywhere(name: str, value: str, port: int, end: float) -> None:
    """Return when every name server of the zone shows the record; raises NotVisibleError.

    They are asked themselves: any resolver between would remember that there was nothing.
    """
    zone = dns.resolver.zone_for_name(name)
    for server, resolver in _servers(zone, port):
        while value not in _texts(resolver, name):
            if time.monotonic() > end:
                raise NotVisibleError(f"{server} does not show the record for {name} yet")
            time.sleep(PAUSE)


def _servers(zone: dns.name.Name, port: int) -> Iterator[tuple[str, dns.resolver.Resolver]]:
    for server in dns.resolver.resolve(zone, "NS"):
        addresses = list(dns.resolver.resolve_name(server.target).addresses())
        yield server.target.to_text(omit_final_dot=True), _resolver(addresses, port)


def _resolver(addresses: list[str], port: int) -> dns.resolver.Resolver:
    """One that asks these servers alone."""
    resolver = dns.resolver.Resolver(configure=False)
    resolver.lifetime, resolver.port = ONE_QUESTION, port
    resolver.nameservers = [*addresses]
    return resolver


def _texts(resolver: dns.resolver.Resolver, name: str) -> set[str]:
    try:
        answer = resolver.resolve(name, "TXT", search=False)
    except dns.exception.DNSException:
        return set()
    return {b"".join(record.strings).decode("utf-8", "replace") for record in answer}


# ---- words


def _in_words(error: Exception, environ: Mapping[str, str] = os.environ) -> str:
    """The error on one line, without what only the provider may know."""
    words = " ".join(f"{error}".split()) or type(error).__name__
    # HTTP clients quote whole URLs, and several providers want their token in the query
    words = re.sub(r"(https?://[^\s?]+)\?\S*", r"\1?…", words)
    for key, value in environ.items():
        if key.startswith("LEXICON_") and "AUTH" in key and len(value) > 3:
            words = words.replace(value, "…")
    return words


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hopward-dns", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("provider", metavar="PROVIDER", help="as Lexicon names it, for instance cloudflare")
    add("action", choices=("present", "cleanup"))
    add("name", metavar="NAME")
    add("value", metavar="VALUE")
    add("--wait", type=float, default=LONGEST, metavar="SECONDS", help="0: do not look for it")
    add("--resolver", metavar="ADDRESS", help="finds zones and servers instead of the system's")
    add("--port", type=int, default=53, metavar="PORT", help="of the resolver and all servers")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""How an operator writes durations, sizes, addresses, names and origins.

Pure: text in, value out. Law: whatever is refused is a ValueError that says what would be right.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Literal, NamedTuple

Network = IPv4Network | IPv6Network

DURATION_PATTERN = r"[0-9]+(\.[0-9]+)?(ms|s|m|h)"
SIZE_PATTERN = r"[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB)"
OFF_PATTERN = "off|false"

_SECONDS = {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600)}
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
# Longer is a slip of the keyboard, and event loops overflow on it.
_LONGEST = 10 * 365 * 24 * 3600
# sockaddr_un holds 108 bytes on Linux (104 on macOS), the last one a NUL.
_LONGEST_UNIX_PATH = 103

# RFC 1035 §2.3.4. An IPv6 address is shorter.
_LONGEST_LABEL = 63

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ORIGIN = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<server>[^/?#]*)(?P<rest>(?s:.*))")
_SERVER = re.compile(r"(\[(?P<ipv6>[^\[\]]*)\]|(?P<host>[^:\[\]]*))(:(?P<port>[0-9]*))?")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# Servers inside a machine or a container network are often named with underscores.
_SERVER_NAME = re.compile(
    r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?"
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*")
_PATH = re.compile(r"/[\x21-\x22\x24-\x3e\x40-\x7e]*")


class Address(NamedTuple):
    """A TCP address to listen on; port 0 leaves the choice to the kernel."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"

    def takes_in(self, other: "Address", among: Sequence["Address"]) -> bool:
        """Whether a socket on this one of `among`, a listener's addresses, has all of `other`'s
        connections. `[::]` has those of IPv4 too, unless `0.0.0.0` stands beside it."""
        if not self.port or self.port != other.port:
            return False
        if self.host == "::":
            return ":" in other.host or self._replace(host="0.0.0.0") not in among
        return self.host == other.host or (self.host == "0.0.0.0" and ":" not in other.host)


@dataclass(frozen=True, slots=True)
class UnixPath:
    """A unix socket to listen on."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class Origin:
    """One upstream server; `ca` and `verify` matter to https only.

    `proxy_protocol`: the version of the header that tells it whose connection each one is.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    unix: Path | None = None
    ca: Path | None = None
    verify: bool = True
    proxy_protocol: Literal["v1", "v2"] | None = None
    _text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Written with each line of the access log.
        text = f"unix:{self.unix}" if self.unix else f"{self.scheme}://{self.authority}"
        object.__setattr__(self, "_text", text)

    @property
    def authority(self) -> str:
        """The server as a Host field names it (RFC 9110 §7.2): the default port left out."""
        host = _bracketed(self.host)
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return self._text


def duration(text: str, *, zero: bool = False) -> float:
    """The seconds of `500ms`, `10s`, `5m` or `2h`; nothing at all only where `zero` allows it."""
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"{shown(text)} is not a duration; write it as 500ms, 10s, 5m or 2h")
    number, unit = _split_quantity(text)
    seconds = number * _SECONDS[unit]
    if not (seconds or zero):
        raise ValueError(f"{shown(text)} leaves no time at all; write a longer one, such as 10s")
    if seconds > _LONGEST:
        raise ValueError(f"{shown(text)} is longer than ten years; write a shorter one")
    return float(seconds)


def size(text: str) -> int:
    """The bytes of `512B`, `32KiB`, `10MiB` or `1GiB`."""
    if not re.fullmatch(SIZE_PATTERN, text):
        raise ValueError(f"{shown(text)} is not a size; write it as 512B, 32KiB, 10MiB or 1GiB")
    number, unit = _split_quantity(text)
    if not (count := int(number * _BYTES[unit])):
        raise ValueError(f"{shown(text)} is no room at all; write a larger one, such as 32KiB")
    return count


def _split_quantity(text: str) -> tuple[Fraction, str]:
    number = text.rstrip("BKMGismh")
    return Fraction(number), text[len(number) :]


def is_off(text: str) -> bool:
    """Whether the text says none: `off`, or the `false` that YAML 1.1 tools make of it."""
    return re.fullmatch(OFF_PATTERN, text) is not None


def switch(text: str) -> bool:
    """`true` or `false`."""
    if text not in ("true", "false"):
        raise ValueError(f"{shown(text)} is neither true nor false")
    return text == "true"


def whole_number(text: str, least: int, most: int = 10**15) -> int:
    """A whole number in decimal, of at least `least` and at most `most`."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError(f"{shown(text)} is not a whole number; write {least} or more")
    number = int(text)
    if number < least:
        raise ValueError(f"{text} is too small; write {least} or more")
    if number > most:
        raise ValueError(f"{text} is too large; write {most} or less")
    return number


def port(text: str, least: int = 1) -> int:
    """A TCP port."""
    try:
        return whole_number(text, least, 65535)
    except ValueError as error:
        raise ValueError(f"port {error}") from None


def listen_address(text: str) -> Address:
    """`127.0.0.1:443` or `[::]:443`; only addresses, for a name may mean several."""
    found = _SERVER.fullmatch(text)
    if found is None or not found["port"]:
        raise ValueError(
            f"{shown(text)} is not an address and a port; write it as [::]:443 or 127.0.0.1:8443"
        )
    if (host := found["ipv6"] or found["host"]) == "localhost":
        raise ValueError(
            f"{shown(text)} may mean two addresses; "
            f"write 127.0.0.1:{found['port']} or [::1]:{found['port']}"
        )
    if not _is_address(host, 4 if found["ipv6"] is None else 6):
        raise ValueError(
            f"{shown(host)} is not an address to listen on; "
            f"for every address write [::]:{found['port']}"
        )
    return Address(str(ip_address(host)), port(found["port"], 0))


def unix_path(text: str) -> UnixPath:
    """`unix:PATH`."""
    path = text.removeprefix("unix:")
    if path == text or not path or "\0" in path:
        raise ValueError(f"{shown(text)} is not a unix socket; write it as unix:/run/name.sock")
    if len(os.fsencode(path)) > _LONGEST_UNIX_PATH:
        raise ValueError(f"{shown(text)} is too long for a socket: {_LONGEST_UNIX_PATH} bytes")
    return UnixPath(Path(path))


def origin(text: str) -> Origin:
    """`http://HOST[:PORT]`, `https://HOST[:PORT]` or `unix:PATH`."""
    if text.startswith("unix:"):
        return Origin("http", "localhost", 80, unix=unix_path(text).path)
    found = _ORIGIN.fullmatch(text)
    if found is None:
        raise ValueError(f"{shown(text)} is not a URL; {_nearest_url(text)}")
    scheme = found["scheme"].lower()
    if scheme in ("ws", "wss"):
        plain = f"{scheme.replace('ws', 'http')}://{found['server']}"
        raise ValueError(f"write {shown(plain)}: WebSocket passes over http and https by itself")
    if scheme not in _DEFAULT_PORTS:
        raise ValueError(f"{shown(text)} has an unknown scheme; http, https and unix: are known")
    _refuse_more_than_a_server(scheme, found["server"], found["rest"])
    host, its_port = _server(found["server"], text)
    return Origin(
        "https" if scheme == "https" else "http", host, its_port or _DEFAULT_PORTS[scheme]
    )


def _refuse_more_than_a_server(scheme: str, server: str, rest: str) -> None:
    user, _, bare = server.rpartition("@")
    right = shown(f"{scheme}://{bare}")
    if user:
        raise ValueError(
            f"a user in a URL is not supported; write {right} "
            "and an Authorization field in 'request_headers'"
        )
    if rest not in ("", "/"):
        part = "path" if rest.lstrip("/")[:1] not in ("?", "#", "") else "query"
        raise ValueError(
            f"a {part} in 'to' is not supported, for requests keep their own; write {right}"
        )


def _server(text: str, url: str) -> tuple[str, int | None]:
    found = _SERVER.fullmatch(text)
    host = (found["ipv6"] or found["host"] or "").lower() if found else ""
    if found is None or not _is_server(host, found["ipv6"] is not None):
        raise ValueError(f"{shown(url)} names no server; write it as http://127.0.0.1:3000")
    if any(len(label) > _LONGEST_LABEL for label in host.split(".")):
        raise ValueError(
            f"{shown(url)} names no server; "
            f"between two dots of a name are at most {_LONGEST_LABEL} characters"
        )
    return host, port(found["port"]) if found["port"] else None


def _is_server(host: str, bracketed: bool) -> bool:
    if bracketed:
        return _is_address(host, 6)
    numeric = host.rstrip(".").rpartition(".")[2].isdigit()
    return _is_address(host, 4) if numeric else bool(_SERVER_NAME.fullmatch(host))


def _nearest_url(text: str) -> str:
    if text.isdecimal():
        return f"write {shown('http://127.0.0.1:' + text)}"
    if re.fullmatch(r"[\w.-]+(:[0-9]+)?|\[[0-9a-fA-F:]+\](:[0-9]+)?", text):
        return f"write {shown('http://' + text)}"
    if text.startswith("/"):
        return f"write {shown('unix:' + text)}"
    return "write it as http://127.0.0.1:3000, https://HOST or unix:PATH"


def host_name(text: str) -> str:
    """A site's name in lower case, without its trailing dot; `*` may be the whole first label."""
    name = same_name(text)
    if "://" in text or "/" in text:
        raise ValueError(f"{shown(text)} is not a host name; write the name without URL or path")
    if ":" in text or _is_address(text, 4):
        raise ValueError(f"{shown(text)} is not a host name; write it without port, as a name")
    if not text.isascii():
        raise ValueError(f"{shown(text)} must stand in its ASCII form{_ascii_form(name)}")
    labels = name.removeprefix("*.").split(".")
    if "*" in name.removeprefix("*."):
        raise ValueError(f"{shown(text)} is not a host name; '*' may only be the first label")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{shown(text)} is not a host name; write it as www.example.com")
    return name


def same_name(text: str) -> str:
    """What two spellings of one host name have in common."""
    return text.lower().removesuffix(".")


def _ascii_form(name: str) -> str:
    try:
        return f": {shown(name.encode('idna').decode())}"
    except UnicodeError:
        return ", xn--…"


def network(text: str) -> Network:
    """A CIDR, or one address."""
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        near = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{shown(text)} is not a network; write it as 10.0.0.0/8") from None
    raise ValueError(f"{shown(text)} has bits set beyond its prefix; write {near}")


def web_url(text: str, *schemes: str) -> str:
    """A URL with one of `schemes`, unchanged."""
    found = _ORIGIN.fullmatch(text)
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    if found is None or found["scheme"] not in schemes or not re.fullmatch(r"[!-~]+", text):
        raise ValueError(f"{shown(text)} is not a URL that begins with {wanted}")
    _server(found["server"].rpartition("@")[2], text)
    return text


def path_prefix(text: str) -> str:
    """The path of a request, or its beginning."""
    if not text.startswith("/"):
        raise ValueError(f"{shown(text)} is not a path; it must begin with '/'")
    if text.endswith("*"):
        right = shown(text.rstrip("*"))
        raise ValueError(f"a path covers everything below it; write {right} without '*'")
    if not _PATH.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a path; it has no spaces, '?' or '#'")
    return text


def field_name(text: str) -> str:
    """A field name (RFC 9110 §5.1: a token), unchanged."""
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a header name; letters, digits and '-' make one")
    return text


def field_value(text: str) -> str:
    """A field value (RFC 9110 §5.5) without the white space around it."""
    if not _FIELD_VALUE.fullmatch(text):
        raise ValueError(
            f"{shown(text)} is not a header value; write one line without control characters"
        )
    return text.strip(" \t")


def shown(text: str) -> str:
    """The text in quotes, short enough for one line."""
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _is_address(text: str, version: int) -> bool:
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return False
    return address.version == version


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

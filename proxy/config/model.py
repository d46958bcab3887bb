"""What an operator can say: the configuration as frozen, typed objects.

Law: whoever holds a `Config` holds a valid one. Each key stands here once, with its type, its
default as it would be written, and its description: reading, the editors' schema and the checks
all follow from that. Durations are seconds, sizes are bytes; `off` is None in both.
Reading a file, and saying where in it a problem is, is `file`'s.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from itertools import count, permutations
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .certificates import Acme, Alerts
from .section import Section, key
from .sites import Site
from .units import Address, UnixPath
from .values import (
    AdminAddress,
    Cidr,
    CountOrOff,
    FilePath,
    HostName,
    ListenAddress,
    LogTarget,
    Patience,
    Size,
    SizeOrOff,
    Text,
    Timeout,
    Workers,
    at_least_one,
    listed,
    mapped,
    without_off,
)


class Listen(Section):
    """Where clients are awaited."""

    https: Annotated[
        tuple[ListenAddress, ...], AfterValidator(at_least_one), BeforeValidator(listed)
    ] = key(("[::]:443",), "One or a list of address:port; [::] takes IPv4 too.")
    http: Annotated[
        tuple[ListenAddress, ...], BeforeValidator(lambda written: listed(without_off(written)))
    ] = key(("[::]:80",), "Redirects to https; false: none.")
    admin: AdminAddress = key(
        "127.0.0.1:9180", "Metrics, health and status: address:port or unix:PATH; false: none."
    )

    @model_validator(mode="after")
    def _take_each_address_once(self) -> Self:
        admin = (self.admin,) if isinstance(self.admin, Address) else ()
        listened = [(each, kind) for kind in (self.https, self.http, admin) for each in kind]
        for (one, among), (other, _) in permutations(listened, 2):
            if one == other and one.port:
                raise ValueError(f"{one} is listened on twice; write it once")
            if one.takes_in(other, among):
                raise ValueError(
                    f"{one} takes the connections to {other} too; give one of them another port"
                )
        return self


class Timeouts(Section):
    """How long each step may take: a duration, or off."""

    handshake: Timeout = key("10s", "From a connection's first byte to the end of TLS's handshake.")
    request_head: Timeout = key("10s", "For a client to send a request's head.")
    request_body: Timeout = key("30s", "Between two reads of a request's body.")
    keepalive: Patience = key("75s", "How long an idle client's connection stays open.")
    connect: Timeout = key("5s", "To connect to an upstream server.")
    response_head: Timeout = key("60s", "For an upstream server to begin its answer.")
    response_body: Timeout = key("60s", "Between two reads of an answer's body.")
    websocket_idle: Timeout = key("off", "Silence in both directions after which a tunnel ends.")
    drain: Patience = key("30s", "What running exchanges get to finish when the proxy stops.")


class Limits(Section):
    """How much of each there may be: a size or a number, some of them off."""

    request_head: Size = key("32KiB", "A request's line and header fields.")
    request_body: SizeOrOff = key("off", "A request's body.")
    response_head: Size = key("64KiB", "An answer's status line and header fields.")
    connections: CountOrOff = key("20000", "Clients' connections at one time.")
    connections_per_ip: CountOrOff = key("off", "Connections of one client address (/64 for IPv6).")


class AccessLog(Section):
    """One line for each exchange."""

    format: Literal["json", "text"] = key("json", "How a line is written.")
    to: LogTarget = key("stdout", "stdout, stderr or a file.")
    redact: Annotated[tuple[Text, ...], BeforeValidator(listed)] = key(
        ("token",), "Query parameters whose values are masked; /path/: what follows it is."
    )


class Config(Section):
    """All that an operator can say to hopward."""

    listen: Listen = Field(default_factory=Listen)
    workers: Workers = key("auto", "Processes; auto: one per usable CPU.")
    store: FilePath = key("/var/lib/hopward", "The folder of certificates and the account.")
    trusted_proxies: Annotated[tuple[Cidr, ...], BeforeValidator(listed)] = key(
        (), "Networks whose X-Forwarded-For is believed."
    )
    acme: Acme = Field(default_factory=Acme)
    alerts: Alerts = Field(default_factory=Alerts)
    timeouts: Timeouts = Field(default_factory=Timeouts)
    limits: Limits = Field(default_factory=Limits)
    access_log: Annotated[AccessLog | None, BeforeValidator(without_off)] = Field(
        default_factory=AccessLog, description="One line for each exchange; off: none."
    )
    sites: Annotated[
        Mapping[HostName, Site], AfterValidator(at_least_one), BeforeValidator(mapped)
    ] = Field(description="Host names, each with a URL or a mapping.")


_LOCAL_HTTPS = (Address("::1", 8443), Address("127.0.0.1", 8443))
_LOCAL_HTTP = (Address("::1", 8080), Address("127.0.0.1", 8080))
_LOCAL_ADMIN = Address("127.0.0.1", 9180)


def for_local_use(config: Config, store: Path) -> Config:
    """The same configuration for development: on this machine only, without root or a CA.

    What the file itself puts on a loopback address stays there, and so does a store it names.
    """
    written = config.listen.model_fields_set

    def listen(name: str, otherwise: object) -> object:
        value = getattr(config.listen, name)
        addresses = value if name != "admin" else (value,)
        kept = name in written and all(map(_stays_here, addresses))
        return value if kept else otherwise

    local = {"https": _LOCAL_HTTPS, "http": _LOCAL_HTTP, "admin": _LOCAL_ADMIN}
    return config.model_copy(
        update={
            "listen": config.listen.model_copy(
                update={name: listen(name, value) for name, value in local.items()}
            ),
            "workers": 1,
            "store": config.store if "store" in config.model_fields_set else store,
            "sites": {
                name: site.model_copy(update={"tls": "internal"})
                for name, site in config.sites.items()
            },
        }
    )


def _stays_here(address: Address | UnixPath | None) -> bool:
    return not isinstance(address, Address) or ip_address(address.host).is_loopback


def local_names(sites: Iterable[str]) -> dict[str, str]:
    """Alias -> site: each site's first label under `.localhost`; a wildcard has none.

    The first site with a label keeps it, the next is `label-2.localhost` and so on; no alias
    takes another site's own name.
    """
    names = [name for name in sites if not name.startswith("*.")]
    aliases: dict[str, str] = {}
    later = []
    for name in names:
        alias = f"{name.partition('.')[0]}.localhost"
        if alias == name or (alias not in aliases and alias not in names):
            aliases[alias] = name
        else:
            later.append(name)
    for name in later:
        label = name.partition(".")[0]
        free = (f"{label}-{number}.localhost" for number in count(2))
        aliases[next(alias for alias in free if alias not in aliases and alias not in names)] = name
    return aliases


_NONE = {"enum": [False, "false", "off"]}


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) by which an editor completes and checks a file."""
    made = _as_written(Config.model_json_schema(mode="validation"))
    parts = made["$defs"]
    entry = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/WrittenOrigin"}]}
    servers = {"anyOf": [*entry["anyOf"], {"type": "array", "items": entry}]}
    for name in ("Site", "RouteOfSite"):
        parts[name]["properties"]["to"] |= servers
        parts[name] = {"anyOf": [*servers["anyOf"], parts[name]]}
    parts["Listen"]["properties"]["http"]["anyOf"].append(_NONE)
    made["properties"]["access_log"]["anyOf"].append(_NONE)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "hopward", **made}


def _as_written(part: Any) -> Any:
    # One stands for a list of one, and nothing for a section whose keys are all commented out.
    if isinstance(part, list):
        return [_as_written(item) for item in part]
    if not isinstance(part, dict):
        return part
    part = {key: _as_written(value) for key, value in part.items() if key != "title"}
    if part.get("type") == "array":
        several = {"type": part.pop("type"), "items": part.pop("items")}
        return {**part, "anyOf": [several, several["items"], {"type": "null"}]}
    return {**part, "type": ["object", "null"]} if part.get("type") == "object" else part

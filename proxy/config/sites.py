"""The sections on sites: which servers, which rules, which parts of a site differ from it.

Law: a `Route` is complete. What one of a site's routes leaves out has been inherited already.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    GetPydanticSchema,
    PlainValidator,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    WrapValidator,
    field_validator,
)

from . import units
from .certificates import CertificateFiles
from .section import Section, key
from .units import Origin
from .values import (
    Cidr,
    Count,
    Duration,
    FilePath,
    Hsts,
    PasswordHash,
    PathPrefix,
    RequestFields,
    ResponseFields,
    Switch,
    UserName,
    at_least_one,
    folder_of,
    kind_of,
    listed,
    located,
    mapped,
)


class RateLimit(Section):
    """A token bucket for each client address (/64 for IPv6)."""

    requests: Count = Field(description="How many requests …")
    per: Duration = Field(description="… in how long a time.")
    burst: Count = Field(
        default_factory=lambda known: known.get("requests", 1),
        description="How many at once; by default as many as 'requests'.",
    )


class Health(Section):
    """How an upstream server is asked whether it is well."""

    path: PathPrefix = Field(description="What is requested; 2xx and 3xx are well.")
    every: Duration = key("10s", "How often.")


class WrittenOrigin(Section):
    """An upstream server that needs more than its URL."""

    url: Annotated[Origin, PlainValidator(lambda written: _read_url(written))] = Field(
        description="http://HOST:PORT, https://HOST:PORT or unix:PATH."
    )
    ca: FilePath | None = Field(None, description="A PEM file that signs the server's certificate.")
    verify: Switch = Field(True, description="false: any certificate is taken.")
    proxy_protocol: Literal["v1", "v2"] | None = Field(
        None, description="v1 or v2: the server is told by the PROXY protocol who connects."
    )

    @field_validator("ca", "verify")
    @classmethod
    def _only_with_https(cls, value: object, info: ValidationInfo) -> object:
        url = info.data.get("url")
        if url is not None and url.scheme != "https":
            raise ValueError(f"'{info.field_name}' has a meaning for https only; leave it out")
        return value

    @classmethod
    def read(cls, written: object, validate: Any, info: ValidationInfo) -> object:
        """The `Origin` that a URL or a mapping means."""
        if isinstance(written, Origin):
            return written
        entry = validate(written if isinstance(written, dict) else {"url": written})
        unix = entry.url.unix and located(entry.url.unix, folder_of(info))
        return replace(
            entry.url,
            unix=unix,
            ca=entry.ca,
            verify=entry.verify,
            proxy_protocol=entry.proxy_protocol,
        )


def _read_url(written: object) -> Origin:
    if isinstance(written, str):
        return units.origin(written)
    raise ValueError(f"{kind_of(written)} stands here; write a URL such as http://127.0.0.1:3000")


Origins = Annotated[
    tuple[
        Annotated[
            Origin,
            GetPydanticSchema(
                lambda _, generate: generate(
                    Annotated[WrittenOrigin, WrapValidator(WrittenOrigin.read)]
                )
            ),
        ],
        ...,
    ],
    AfterValidator(at_least_one),
    BeforeValidator(listed),
]


class Route(Section):
    """Where requests go and what is done to them: a site, or a part of one."""

    to: Origins = Field((), description="A URL or a list of them: http, https or unix:PATH.")
    hsts: Hsts = key("off", "Strict-Transport-Security: true (a year), a max-age, or off.")
    host_header: Literal["preserve", "upstream"] = key(
        "preserve", "Which Host the upstream server sees: the client's or its own."
    )
    request_headers: RequestFields = key({}, "Fields set on requests; null removes one.")
    response_headers: ResponseFields = key({}, "Fields set on answers; null removes one.")
    basic_auth: Annotated[
        Annotated[Mapping[UserName, PasswordHash], AfterValidator(at_least_one)] | None,
        Field(repr=False),
    ] = key(None, "Users and their scrypt or bcrypt hashes; null: everyone may come in.")
    compress: Switch = key(
        "false", "true: answers are sent in zstd or gzip to clients that know them."
    )
    allow: Annotated[tuple[Cidr, ...], BeforeValidator(listed)] = key(
        (), "Networks that may come in; empty: everyone."
    )
    rate_limit: RateLimit | None = key(None, "How often one client may ask; null: always.")
    health: Health | None = key(None, "How servers are asked whether they are well; null: never.")
    also_known = MappingProxyType(
        {
            name: f"it belongs to a server; write to: {{url: https://…, {name}: …}}"
            for name in ("ca", "verify", "proxy_protocol")
        }
    )

    @classmethod
    def _in_full(cls, written: object) -> object:
        short = isinstance(written, str | list | tuple)
        return {"to": written} if short else super()._in_full(written)


class RouteOfSite(Route):
    """A part of a site; what it leaves out is as in its site."""

    hsts: Annotated[Hsts, WithJsonSchema({"not": {}})] = Field(
        None, description="Belongs to the site."
    )
    also_known = MappingProxyType(
        dict.fromkeys(("tls", "hsts", "routes"), "it belongs to the site, not to one of its routes")
        | dict(Route.also_known)
    )

    @classmethod
    @cache
    def written_keys(cls) -> tuple[str, ...]:
        """A site's keys but those that hold for all of it."""
        return tuple(key for key in super().written_keys() if key not in cls.also_known)


def _read_route(written: object, validate: Any) -> Route:
    return written if type(written) is Route else validate(written)


def _known_tls(written: object) -> object:
    if written in ("acme", "internal") or isinstance(written, dict | CertificateFiles):
        return written
    raise ValueError("'tls' is one of: acme, internal, {cert: PATH, key: PATH}")


class Site(Route):
    """One host name: its certificate, its servers, its parts."""

    tls: Annotated[
        Annotated[Literal["acme", "internal"], Tag("kind")]
        | Annotated[CertificateFiles, Tag("files")],
        Discriminator(lambda written: "kind" if isinstance(written, str) else "files"),
        BeforeValidator(_known_tls),
    ] = key("acme", "acme, internal (a local authority), or {cert: PATH, key: PATH}.")
    routes: Annotated[
        Mapping[
            PathPrefix,
            Annotated[
                Route,
                GetPydanticSchema(
                    lambda _, generate: generate(Annotated[RouteOfSite, WrapValidator(_read_route)])
                ),
            ],
        ],
        BeforeValidator(mapped),
    ] = key({}, "Parts of the site by path; the longest wins.")

    @field_validator("routes")
    @classmethod
    def _complete(cls, routes: Mapping[str, Route], info: ValidationInfo) -> Mapping[str, Route]:
        # Fields are read in order, so all that a route can inherit is known here.
        site = {name: value for name, value in info.data.items() if name in _OF_ROUTES}
        if not site.get("to", True):
            _refuse_without_servers(routes)
        return {prefix: _inherit(route, site) for prefix, route in routes.items()}


_OF_ROUTES = frozenset(Route.model_fields)


def _refuse_without_servers(routes: Mapping[str, Route]) -> None:
    if not routes:
        raise ValueError("a site needs 'to' or 'routes'; write to: http://127.0.0.1:3000")
    for prefix, route in routes.items():
        if not route.to:
            raise ValueError(f"route {prefix!r} needs 'to', for its site has none")


def _inherit(route: Route, site: Mapping[str, Any]) -> Route:
    inherited = {key: site[key] for key in site.keys() - route.model_fields_set}
    return route.model_copy(update=inherited)

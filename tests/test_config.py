"""What a configuration means: defaults, inheritance, local use, the editors' schema."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from proxy import config
from proxy.config import (
    Address,
    CertificateFiles,
    Config,
    Health,
    Limits,
    Listen,
    Origin,
    RateLimit,
    Route,
    Timeouts,
    for_local_use,
    local_names,
)

ROOT = Path(__file__).parent.parent
VALID = sorted(ROOT.joinpath("tests", "config", "valid").glob("*.yml"))
A = Origin("http", "127.0.0.1", 3000)
B = Origin("http", "127.0.0.1", 3001)


def written(site: object, **others: object) -> Config:
    return Config.model_validate({"sites": {"a.example.com": site}, **others})


def test_a_site_is_its_url() -> None:
    assert written("http://127.0.0.1:3000").sites["a.example.com"].to == (A,)


def test_a_site_is_a_list_of_urls() -> None:
    site = written(["http://127.0.0.1:3000", "http://127.0.0.1:3001"]).sites["a.example.com"]
    assert site.to == (A, B)


def test_defaults_are_those_of_the_documentation() -> None:
    made = written("http://127.0.0.1:3000")
    assert made.listen.https == (Address("::", 443),)
    assert made.listen.http == (Address("::", 80),)
    assert made.listen.admin == Address("127.0.0.1", 9180)
    assert made.workers == "auto"
    assert made.timeouts.model_dump() == {
        "handshake": 10.0, "request_head": 10.0, "request_body": 30.0, "keepalive": 75.0,
        "connect": 5.0, "response_head": 60.0, "response_body": 60.0, "websocket_idle": None,
        "drain": 30.0,
    }  # fmt: skip
    assert made.limits == Limits(
        request_head=32768, request_body=None, response_head=65536, connections=20000
    )
    assert made.sites["a.example.com"].tls == "acme"


def test_a_configuration_can_be_built_from_what_its_values_mean() -> None:
    assert Timeouts(connect=0.5, drain=None).connect == 0.5
    assert Listen(https=(Address("::1", 0),), http=(), admin=None).http == ()
    route = Route(to=(A,), health=Health(path="/health", every=1.0))
    assert config.Site(to=(A,), tls="internal", routes={"/x/": route}).routes["/x/"].to == (A,)


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        written("http://127.0.0.1:3000").workers = 3


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("true", 31536000), ("off", None), ("false", None), ("600", 600), ("2h", 7200), ("0", 0)],
)
def test_hsts_is_true_or_off_or_a_max_age(text: str, seconds: int | None) -> None:
    site = written({"to": "http://127.0.0.1:3000", "hsts": text}).sites["a.example.com"]
    assert site.hsts == seconds


def test_an_http_listener_of_false_is_none() -> None:
    assert written("http://127.0.0.1:3000", listen={"http": "false"}).listen.http == ()


WILD, WILD6 = Address("0.0.0.0", 443), Address("::", 443)
LOOPBACK, LOOPBACK6 = Address("127.0.0.1", 443), Address("::1", 443)


@pytest.mark.parametrize(
    ("https", "http"),
    [
        ([WILD6], [WILD]),
        ([WILD], [WILD6]),
        ([WILD6], [LOOPBACK]),
        ([WILD6], [LOOPBACK6]),
        ([WILD6, LOOPBACK], []),
        ([WILD], [LOOPBACK]),
        ([WILD6, WILD], [LOOPBACK6]),
    ],
)
def test_no_address_takes_the_connections_to_another(
    https: list[Address], http: list[Address]
) -> None:
    with pytest.raises(ValidationError, match="takes the connections to"):
        Listen(https=tuple(https), http=tuple(http))


@pytest.mark.parametrize("https", [[WILD6, WILD], [WILD, LOOPBACK6], [LOOPBACK, LOOPBACK6]])
def test_both_families_may_have_an_address_each_on_one_port(https: list[Address]) -> None:
    assert Listen(https=tuple(https)).https == tuple(https)


def test_a_route_inherits_what_it_leaves_out() -> None:
    site = written({
        "to": "http://127.0.0.1:3000",
        "hsts": "true",
        "allow": ["10.0.0.0/8"],
        "rate_limit": {"requests": "20", "per": "1s"},
        "routes": {
            "/all/": {},
            "/own/": {"to": "http://127.0.0.1:3001", "allow": [], "rate_limit": None},
        },
    }).sites["a.example.com"]  # fmt: skip
    inherits, differs = site.routes["/all/"], site.routes["/own/"]
    assert (inherits.to, inherits.allow, inherits.hsts) == (site.to, site.allow, 31536000)
    assert inherits.rate_limit == RateLimit(requests=20, per=1.0)
    assert (differs.to, differs.allow, differs.rate_limit, differs.hsts) == (
        (B,),
        (),
        None,
        31536000,
    )


def test_a_site_may_leave_its_servers_to_its_routes() -> None:
    site = written({"routes": {"/live/": "http://127.0.0.1:3001"}}).sites["a.example.com"]
    assert (site.to, site.routes["/live/"].to) == ((), (B,))


def test_a_burst_is_as_many_as_the_requests_unless_it_is_written() -> None:
    assert RateLimit(requests=20, per=1.0).burst == 20


def test_paths_are_relative_to_the_folder_of_the_file() -> None:
    made = Config.model_validate(
        {
            "store": "certificates",
            "listen": {"admin": "unix:admin.sock"},
            "sites": {
                "a.example.com": {
                    "to": ["unix:app.sock", {"url": "https://b", "ca": "ca.pem"}],
                    "tls": {"cert": "a.pem", "key": "/keys/a.key"},
                }
            },
        },
        context={"folder": Path("/etc/hopward")},
    )
    site = made.sites["a.example.com"]
    assert made.store == Path("/etc/hopward/certificates")
    assert str(made.listen.admin) == "unix:/etc/hopward/admin.sock"
    assert site.to[0].unix == Path("/etc/hopward/app.sock")
    assert site.to[1].ca == Path("/etc/hopward/ca.pem")
    assert site.tls == CertificateFiles(cert=Path("/etc/hopward/a.pem"), key=Path("/keys/a.key"))


def test_secrets_are_not_shown_with_a_configuration() -> None:
    made = written(
        {"to": "http://127.0.0.1:3000", "basic_auth": {"admin": f"$2b$12${'secret':O<53}"}},
        acme={"eab": {"key_id": "1", "hmac_key": "secret"}},
        alerts={"smtp": {"host": "m", "from": "a@b", "to": "a@b", "password": "secret"}},
    )
    assert "secret" not in repr(made)


def test_local_use_listens_on_this_machine_only() -> None:
    local = for_local_use(written("http://127.0.0.1:3000"), Path("/home/me/store"))
    assert local.listen.https == (Address("::1", 8443), Address("127.0.0.1", 8443))
    assert local.listen.http == (Address("::1", 8080), Address("127.0.0.1", 8080))
    assert (local.workers, local.store) == (1, Path("/home/me/store"))
    assert local.sites["a.example.com"].tls == "internal"


def test_local_use_keeps_a_written_store_and_loopback_listeners() -> None:
    listen = {"https": "127.0.0.1:0", "http": "false", "admin": "[::1]:9999"}
    local = for_local_use(
        written("http://127.0.0.1:3000", listen=listen, store="/srv/store"), Path("/unused")
    )
    assert local.listen.https == (Address("127.0.0.1", 0),)
    assert local.listen.http == ()
    assert local.listen.admin == Address("::1", 9999)
    assert local.store == Path("/srv/store")


def test_local_use_keeps_no_listener_that_others_can_reach() -> None:
    listen = {"https": ["127.0.0.1:443", "192.0.2.1:443"], "admin": "0.0.0.0:9180"}
    local = for_local_use(written("http://127.0.0.1:3000", listen=listen), Path("/unused"))
    assert local.listen.https == (Address("::1", 8443), Address("127.0.0.1", 8443))
    assert local.listen.admin == Address("127.0.0.1", 9180)


def test_a_local_name_is_the_first_label_under_localhost() -> None:
    names = ["grafana.example.com", "api.example.com", "*.example.com"]
    assert local_names(names) == {
        "grafana.localhost": "grafana.example.com",
        "api.localhost": "api.example.com",
    }


def test_the_first_site_with_a_label_keeps_its_local_name() -> None:
    names = ["api.example.com", "api.example.org", "api-2.example.com", "api.localhost"]
    assert local_names(names) == {
        "api.localhost": "api.localhost",
        "api-2.localhost": "api-2.example.com",
        "api-3.localhost": "api.example.com",
        "api-4.localhost": "api.example.org",
    }


def sections(part: object) -> list[dict[str, Any]]:
    """Every object schema inside a schema."""
    if isinstance(part, list):
        return [found for item in part for found in sections(item)]
    if not isinstance(part, dict):
        return []
    inside = [found for item in part.values() for found in sections(item)]
    return [part, *inside] if "properties" in part else inside


def test_the_schema_describes_each_key() -> None:
    for section in sections(config.schema()):
        for name, key in section.get("properties", {}).items():
            # A section's own description is behind its reference.
            assert key.keys() & {"description", "$ref"}, name


def test_the_schema_knows_the_keys_of_the_configuration() -> None:
    assert set(config.schema()["properties"]) == set(Config.model_fields)


@pytest.mark.parametrize("file", [ROOT / "config.example.yml", *VALID], ids=lambda file: file.stem)
def test_the_schema_accepts_what_the_proxy_accepts(file: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")
    schema = config.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    # Editors read YAML 1.1 or 1.2: false for off here, as PyYAML has it, text there.
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(file.read_text()))


@pytest.mark.parametrize(
    "broken",
    [
        {"sites": {"a": {"to": "http://b", "tsl": "acme"}}},
        {"sites": {"a": "http://b"}, "timeouts": {"connect": "5 s"}},
        {"sites": {"a": "http://b"}, "limits": {"request_head": "32KB"}},
        {"sites": {"a": {"to": "http://b", "routes": {"/c/": {"hsts": True}}}}},
        {"workers": 2},
    ],
)
def test_the_schema_refuses_what_an_editor_can_see(broken: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")
    assert not jsonschema.Draft202012Validator(config.schema()).is_valid(broken)

"""Which fields cross the proxy, which are made anew for each hop (RFC 9110 §7.6)."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from proxy.config import Config
from proxy.fields import (
    FieldRules,
    end_to_end,
    forwarded_client,
    in_networks,
    is_last_hop,
    one_hop_less,
    own_lines,
    persistent,
    plain_address,
    request_id_of,
    request_lines,
    response_lines,
    sender_lines,
    trailer_lines,
    upgrade_asked,
    upgrade_granted,
)
from proxy.head import Fields, RequestHead, read_fields, read_request, read_trailers

NOTHING = frozenset[bytes]()
NO_RULES = FieldRules(NOTHING, b"", NOTHING, b"")
TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


def fields(*lines: bytes) -> Fields:
    read = read_fields(b"".join(line + b"\r\n" for line in lines))
    assert read is not None
    return read


def options(*lines: bytes, method: bytes = b"OPTIONS") -> RequestHead:
    head = [method + b" / HTTP/1.1", b"Host: a", *lines, b"", b""]
    return read_request(b"\r\n".join(head))


def rules(**site: object) -> FieldRules:
    written = {"to": "http://127.0.0.1:1", **site}
    return FieldRules.of(
        Config.model_validate({"sites": {"a.example": written}}).sites["a.example"]
    )


def crossing(*lines: bytes) -> list[bytes]:
    return [name for name, _ in end_to_end(fields(*lines), NOTHING)]


def sent_on(*lines: bytes, trusted: bool = False, by: FieldRules = NO_RULES) -> bytes:
    return request_lines(fields(*lines), by, trusted=trusted)


# ---- hop-by-hop (RFC 9110 §7.6.1)


@pytest.mark.parametrize(
    "name",
    [b"Connection", b"Keep-Alive", b"Proxy-Connection", b"TE", b"Trailer", b"Transfer-Encoding",
     b"Upgrade", b"UPGRADE", b"Content-Length", b"Host"],
)  # fmt: skip
def test_a_hop_by_hop_field_does_not_cross(name: bytes) -> None:
    assert crossing(b"A: 1", name + b": x", b"B: 2") == [b"A", b"B"]


def test_fields_that_connection_names_do_not_cross() -> None:
    lines = [b"X-Secret: 1", b"Connection: close, X-SECRET", b"x-other: 2", b"X-Kept: 3",
             b"connection:\tx-other"]  # fmt: skip
    assert crossing(*lines) == [b"X-Kept"]


def test_connection_may_not_take_away_what_a_trusted_proxy_says_of_the_client() -> None:
    lines = [b"Connection: X-Forwarded-Port", b"X-Forwarded-Port: 443"]
    assert sent_on(*lines, trusted=True) == b"X-Forwarded-Port: 443\r\n"
    assert sent_on(*lines, trusted=False) == b""


def test_fields_cross_in_their_order_and_spelling() -> None:
    kept = end_to_end(fields(b"sEt-Cookie: 1", b"B: 2", b"Set-Cookie: 3"), NOTHING)
    assert kept == [(b"sEt-Cookie", b"1"), (b"B", b"2"), (b"Set-Cookie", b"3")]


@pytest.mark.parametrize(
    ("version", "connection", "persists"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"keep-alive", True),
        (b"1.1", b"Close", False),
        (b"1.1", b"x, close", False),
        (b"1.0", b"", False),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"keep-alive, close", False),
    ],
)
def test_a_connection_persists_unless_said_otherwise(
    version: bytes, connection: bytes, persists: bool
) -> None:
    """RFC 9112 §9.3."""
    assert persistent(version, fields(b"Connection: " + connection)) is persists


# ---- what a client may say of itself


@pytest.mark.parametrize(
    "claim",
    [b"X-Forwarded-For", b"x-forwarded-proto", b"X-Forwarded-Host", b"X-Forwarded-Port",
     b"X-Forwarded-Client-Cert", b"Forwarded", b"X-Real-IP", b"X-Request-ID", b"X_Forwarded_For",
     b"X-Forwarded_For", b"x_real_ip"],
)  # fmt: skip
def test_an_untrusted_clients_claim_is_dropped(claim: bytes) -> None:
    """CGI and WSGI origins read an underscore as a hyphen."""
    assert sent_on(b"A: 1", claim + b": 203.0.113.1") == b"A: 1\r\n"


@pytest.mark.parametrize("claim", [b"Forwarded: for=a", b"X-Real-IP: b", b"X-Forwarded-Port: 443"])
def test_what_a_trusted_proxy_says_beside_our_own_fields_is_kept(claim: bytes) -> None:
    assert sent_on(claim, trusted=True) == claim + b"\r\n"


@pytest.mark.parametrize(
    "claim", [b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Request-ID"]
)
def test_our_own_fields_are_never_doubled_not_even_by_a_trusted_proxy(claim: bytes) -> None:
    assert sent_on(claim + b": x", claim.lower() + b": y", trusted=True) == b""


def test_the_proxy_says_who_asks_for_what() -> None:
    assert own_lines(b"1.1", b"a.example:8443", NOTHING) == (
        b"Via: 1.1 hopward\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a.example:8443\r\n"
    )
    assert sender_lines("2001:db8::1", b"7f", NOTHING) == (
        b"X-Forwarded-For: 2001:db8::1\r\nX-Request-ID: 7f\r\n"
    )


def test_via_names_the_version_received() -> None:
    """RFC 9110 §7.6.3."""
    assert own_lines(b"1.0", b"a", NOTHING).startswith(b"Via: 1.0 hopward\r\n")


@pytest.mark.parametrize("name", [b"via", b"x-forwarded-for", b"x-request-id"])
def test_a_field_that_the_operator_overrides_is_not_said(name: bytes) -> None:
    overridden = frozenset((name,))
    said = own_lines(b"1.1", b"a", overridden) + sender_lines("192.0.2.1", b"7f", overridden)
    assert name not in said.lower()


@pytest.mark.parametrize("sent", [b"0f-a", b"root=1-67891233-abc", b"x" * 128])
def test_a_harmless_request_id_is_kept(sent: bytes) -> None:
    assert request_id_of(fields(b"X-Request-ID: " + sent)) == sent


@pytest.mark.parametrize("sent", [b"", b"a b", b"<a>", b"\xe4", b"x" * 129, b'a"', b"a\tb"])
def test_a_request_id_that_could_harm_a_log_is_not_kept(sent: bytes) -> None:
    assert request_id_of(fields(b"X-Request-ID: " + sent)) is None


def test_two_request_ids_are_none() -> None:
    assert request_id_of(fields(b"X-Request-ID: a", b"X-Request-ID: a")) is None


# ---- trusted proxies


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([b"203.0.113.1"], "203.0.113.1"),
        ([b"198.51.100.1, 203.0.113.1"], "203.0.113.1"),
        ([b"203.0.113.1, 10.0.0.2, 10.0.0.1"], "203.0.113.1"),
        ([b"198.51.100.1", b"203.0.113.1", b"10.0.0.1"], "203.0.113.1"),
        ([b"203.0.113.1:4711"], "203.0.113.1"),
        ([b"[2001:db8::1]:4711"], "2001:db8::1"),
        ([b"2001:DB8:0::1"], "2001:db8::1"),
        ([b"::ffff:203.0.113.1"], "203.0.113.1"),
        ([b"203.0.113.1, ::ffff:10.0.0.1"], "203.0.113.1"),
        ([b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ([b"203.0.113.1, fd00::1"], "203.0.113.1"),
    ],
)
def test_the_client_is_the_right_most_untrusted_address(lines: list[bytes], client: str) -> None:
    sent = fields(*(b"X-Forwarded-For: " + line for line in lines))
    assert forwarded_client("10.9.9.9", sent, TRUSTED) == client


@pytest.mark.parametrize(
    ("line", "client"),
    [
        (b"203.0.113.1, unknown", "10.9.9.9"),
        (b"203.0.113.1, unknown, 10.0.0.1", "10.0.0.1"),
        (b"256.1.1.1", "10.9.9.9"),
        (b"\xb2\xb2", "10.9.9.9"),
        (b"", "10.9.9.9"),
    ],
)
def test_what_is_no_address_ends_the_search_at_whoever_sent_it(line: bytes, client: str) -> None:
    assert forwarded_client("10.9.9.9", fields(b"X-Forwarded-For: " + line), TRUSTED) == client


def test_without_the_field_the_client_is_the_peer() -> None:
    assert forwarded_client("10.9.9.9", fields(), TRUSTED) == "10.9.9.9"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:80", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[2001:db8::1]", "2001:db8::1"),
    ],
)
def test_an_address_is_bare_and_ipv4_wherever_it_can_be(text: str, address: str) -> None:
    assert plain_address(text) == address


@pytest.mark.parametrize("text", ["", "a", "1.2.3", "1.2.3.4.5", ":::", "unknown", "_hidden", "1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        plain_address(text)


def test_an_address_lies_in_a_network_of_its_own_family_only() -> None:
    assert in_networks("10.1.2.3", TRUSTED)
    assert in_networks("fd00::1", TRUSTED)
    assert not in_networks("11.1.2.3", TRUSTED)
    assert not in_networks("10.1.2.3", [ip_network("::/0")])
    assert not in_networks("10.1.2.3", [])


# ---- an operator's rules


def test_the_operators_fields_replace_the_clients() -> None:
    by = rules(request_headers={"X-Tenant": "a", "Cookie": None})
    assert sent_on(b"x-tenant: b", b"A: 1", b"COOKIE: c", by=by) == b"A: 1\r\nX-Tenant: a\r\n"


def test_the_operators_fields_replace_the_origins() -> None:
    by = rules(response_headers={"Server": None, "X-Frame-Options": "DENY"})
    sent = response_lines(fields(b"Date: d", b"server: x", b"x-frame-options: y"), by, b"now")
    assert sent == b"Date: d\r\nX-Frame-Options: DENY\r\n"


def test_hsts_is_one_line_and_replaces_the_origins() -> None:
    """RFC 6797 §7.1: one field."""
    sent = response_lines(
        fields(b"Date: d", b"strict-transport-security: max-age=1"), rules(hsts="true"), b"now"
    )
    assert sent == b"Date: d\r\nStrict-Transport-Security: max-age=31536000\r\n"


def test_a_date_is_added_where_the_origin_sent_none() -> None:
    """RFC 9110 §6.6.1."""
    assert response_lines(fields(b"Vary: 1"), NO_RULES, b"now") == b"Vary: 1\r\nDate: now\r\n"
    assert response_lines(fields(b"date: d"), NO_RULES, b"now") == b"date: d\r\n"


def test_a_date_is_added_where_the_origins_own_was_for_this_hop_only() -> None:
    sent = response_lines(fields(b"Date: d", b"Connection: date"), NO_RULES, b"now")
    assert sent == b"Date: now\r\n"


def test_a_date_that_the_operator_removes_is_not_added() -> None:
    assert response_lines(fields(), rules(response_headers={"Date": None}), b"now") == b""


# ---- trailers (RFC 9110 §6.5)


def test_trailers_pass_without_what_is_between_two_hops() -> None:
    block = (
        b"Server-Timing: 1\r\nKeep-Alive: 2\r\nX-Hop: 3\r\nX-Forwarded-For: 4\r\nForwarded: 5\r\n"
    )
    sent = trailer_lines(read_trailers(block), fields(b"Connection: x-hop"), NOTHING)
    assert sent == b"Server-Timing: 1\r\n"


def test_what_the_operator_removes_or_sets_does_not_come_back_as_a_trailer() -> None:
    sent = trailer_lines(
        read_trailers(b"X-Key: evil\r\nA: 1\r\n"), fields(), frozenset((b"x-key",))
    )
    assert sent == b"A: 1\r\n"


# ---- Upgrade (RFC 9110 §7.8)


def test_a_protocol_is_asked_for_by_upgrade_and_connection_together() -> None:
    asked = fields(b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket")
    assert upgrade_asked(b"1.1", asked) == (b"WebSocket",)
    assert upgrade_asked(b"1.1", fields(b"Upgrade: websocket")) == ()
    assert upgrade_asked(b"1.1", fields(b"Connection: upgrade")) == ()


def test_http10_cannot_ask_for_another_protocol() -> None:
    assert upgrade_asked(b"1.0", fields(b"Connection: upgrade", b"Upgrade: websocket")) == ()


@pytest.mark.parametrize("upgrade", [b"h2c", b"H2C", b"h2c , websocket"])
def test_h2c_is_never_asked_for(upgrade: bytes) -> None:
    """Its frames would pass the gate unread."""
    asked = upgrade_asked(b"1.1", fields(b"Connection: upgrade", b"Upgrade: " + upgrade))
    assert b"h2c" not in [name.lower() for name in asked]


@pytest.mark.parametrize(
    ("asked", "granted", "agreed"),
    [
        ([b"websocket"], b"WebSocket", True),
        ([b"a/1", b"websocket"], b"a/1", True),
        ([b"a/1", b"b/1"], b"a/1, b/1", True),
        ([b"websocket"], b"h2c", False),
        ([b"websocket"], b"websocket, h2c", False),
        ([b"websocket"], b"", False),
        ([], b"websocket", False),
    ],
)
def test_only_protocols_that_were_asked_for_are_switched_to(
    asked: list[bytes], granted: bytes, agreed: bool
) -> None:
    assert upgrade_granted(asked, fields(b"Upgrade: " + granted)) is agreed


# ---- Max-Forwards (RFC 9110 §7.6.2)


@pytest.mark.parametrize("zero", [b"0", b"00", b"000"])
def test_an_options_that_may_go_no_further_ends_here(zero: bytes) -> None:
    assert is_last_hop(options(b"Max-Forwards: " + zero))


def test_an_options_that_may_go_further_does_not_end_here() -> None:
    assert not is_last_hop(options(b"Max-Forwards: 1"))
    assert not is_last_hop(options())


def test_max_forwards_is_ignored_on_other_methods() -> None:
    got = options(b"Max-Forwards: 0", method=b"GET")
    assert not is_last_hop(got)
    assert one_hop_less(got).fields.values(b"max-forwards") == [b"0"]


def test_an_options_that_may_go_further_goes_one_hop_less() -> None:
    fewer = one_hop_less(options(b"A: 1", b"Max-Forwards: 10", b"B: 2"))
    assert fewer.fields.values(b"max-forwards") == [b"9"]
    assert [name for name, _ in fewer.fields.lines] == [b"host", b"a", b"max-forwards", b"b"]


@pytest.mark.parametrize("value", [b"", b"-1", b"x", b"1.5"])
def test_a_max_forwards_that_is_no_number_is_left_alone(value: bytes) -> None:
    asked = options(b"Max-Forwards: " + value)
    assert not is_last_hop(asked)
    assert one_hop_less(asked) == asked


def test_a_max_forwards_of_many_digits_stays_a_large_number() -> None:
    [left] = one_hop_less(options(b"Max-Forwards: " + b"9" * 4000)).fields.values(b"max-forwards")
    assert len(left) > 8

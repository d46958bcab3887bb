"""How durations, sizes, addresses, names and origins are written."""

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import units
from proxy.config.units import Address, Origin, UnixPath


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("700ms", 0.7), ("10s", 10.0), ("1.5s", 1.5), ("5m", 300.0), ("2h", 7200.0)],
)
def test_a_duration_has_a_unit(text: str, seconds: float) -> None:
    assert units.duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["10", "10 s", "s", "-1s", "1d", "1h30m", "١s", "", "0s", "99999999h"]
)
def test_a_duration_without_unit_or_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        units.duration(text)


def test_no_time_at_all_is_a_duration_where_it_is_allowed() -> None:
    assert units.duration("0s", zero=True) == 0


@pytest.mark.parametrize(
    ("text", "count"),
    [("512B", 512), ("32KiB", 32768), ("10MiB", 10485760), ("1.5KiB", 1536), ("1GiB", 1 << 30)],
)
def test_a_size_has_a_binary_unit(text: str, count: int) -> None:
    assert units.size(text) == count


@pytest.mark.parametrize("text", ["10", "32KB", "32kib", "10M", "-1MiB", "", "0B", "0.1B"])
def test_a_size_without_unit_or_room_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        units.size(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("[::]:443", Address("::", 443)),
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("[2001:DB8::0:1]:8443", Address("2001:db8::1", 8443)),
    ],
)
def test_a_listen_address_is_an_ip_address_and_a_port(text: str, address: Address) -> None:
    assert units.listen_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["443", ":443", "*:443", "::", "::1:443", "[::1]", "[::1]:", "[1.2.3.4]:1", "a:1", "1:30"],
)
def test_a_listen_address_that_is_none_is_refused_with_a_right_one(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        units.listen_address(text)


def test_localhost_is_refused_as_a_listen_address_for_it_may_mean_two() -> None:
    with pytest.raises(ValueError, match=r"write 127\.0\.0\.1:8443 or \[::1\]:8443"):
        units.listen_address("localhost:8443")


def test_an_address_is_shown_as_it_is_written() -> None:
    assert str(Address("::", 443)) == "[::]:443"
    assert str(UnixPath(Path("/run/admin.sock"))) == "unix:/run/admin.sock"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://127.0.0.1:1212", Origin("http", "127.0.0.1", 1212)),
        ("http://127.0.0.1:1212/", Origin("http", "127.0.0.1", 1212)),
        ("https://Backend.internal", Origin("https", "backend.internal", 443)),
        ("HTTP://my_app", Origin("http", "my_app", 80)),
        ("http://[::1]:3000", Origin("http", "::1", 3000)),
        ("unix:/run/app.sock", Origin("http", "localhost", 80, unix=Path("/run/app.sock"))),
    ],
)
def test_an_origin_is_a_scheme_a_server_and_a_port(url: str, origin: Origin) -> None:
    assert units.origin(url) == origin


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("http://127.0.0.1:80", "127.0.0.1"),
        ("https://[::1]", "[::1]"),
        ("https://[::1]:80", "[::1]:80"),
        ("http://a.internal:443", "a.internal:443"),
        ("unix:/run/app.sock", "localhost"),
    ],
)
def test_an_authority_leaves_the_default_port_out(url: str, authority: str) -> None:
    assert units.origin(url).authority == authority


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("127.0.0.1:3000", "'http://127.0.0.1:3000'"),
        ("3000", "'http://127.0.0.1:3000'"),
        ("/run/app.sock", "'unix:/run/app.sock'"),
        ("http://a:1/path", "'http://a:1'"),
        ("https://a?query", "'https://a'"),
        ("http://user:password@a:1", "'http://a:1'"),
        ("wss://a:1", "'https://a:1'"),
    ],
)
def test_an_origin_that_is_nearly_right_is_refused_with_the_right_one(url: str, right: str) -> None:
    with pytest.raises(ValueError, match="write") as refusal:
        units.origin(url)
    assert right in str(refusal.value)
    assert "password" not in str(refusal.value)


def test_a_server_whose_name_no_resolver_takes_is_refused() -> None:
    """RFC 1035 §2.3.4."""
    assert units.origin(f"http://a.{'b' * 63}.c:1").port == 1
    with pytest.raises(ValueError, match="at most 63 characters"):
        units.origin(f"http://a.{'b' * 64}.c:1")


@pytest.mark.parametrize(
    "url", ["ftp://a", "http://", "http://a b", "http://::1:80", "http://1.2.3.4.5", "unix:", ""]
)
def test_an_origin_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"write|known"):
        units.origin(url)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("A.Example.COM", "a.example.com"),
        ("a.example.com.", "a.example.com"),
        ("*.example.com", "*.example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
    ],
)
def test_a_host_name_is_lower_case_without_its_trailing_dot(written: str, name: str) -> None:
    assert units.host_name(written) == name


@pytest.mark.parametrize(
    "text",
    ["", "*", "a.*.b", "*a.b", "a..b", "-a.b", "a_b", "a.b:443", "https://a", "a/b", "::1",
     "1.2.3.4", "bücher.example", "a" * 64, ".".join(["abcdefgh"] * 29)],
)  # fmt: skip
def test_a_host_name_that_no_client_could_ask_for_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"host name|ASCII form"):
        units.host_name(text)


def test_a_network_may_be_one_address() -> None:
    assert units.network("192.0.2.1") == ip_network("192.0.2.1/32")
    assert units.network("2001:db8::/32") == ip_network("2001:db8::/32")


def test_a_network_with_bits_beyond_its_prefix_is_refused_with_the_right_one() -> None:
    with pytest.raises(ValueError, match=r"write 10\.0\.0\.0/8"):
        units.network("10.1.2.3/8")


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\0", "a\x7f", "a\n"])
def test_a_field_value_holds_no_control_characters(value: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        units.field_value(value)


@given(st.text())
def test_whatever_stands_in_a_file_is_read_or_refused_as_a_value_error(text: str) -> None:
    for read in (
        *(units.duration, units.size, units.listen_address, units.origin, units.host_name),
        *(units.network, units.path_prefix, units.field_name, units.field_value),
    ):
        try:
            read(text)
        except ValueError as refusal:
            assert str(refusal).isprintable()  # noqa: PT017 - a refusal is one of two right answers

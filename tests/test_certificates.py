"""The TLS context of each site: made once, replaced when its certificate is due."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from OpenSSL import SSL

from acme_client import State, Store
from proxy.certificates import Certificates
from proxy.config import Config
from proxy.errors import StartError
from proxy.local_ca import LEAF_LIFETIME
from proxy.routing import Table
from tests.authority import Authority

NOW = datetime.now(UTC)
# PKCS #8 with the algorithm 1.2.3.4.
UNKNOWN_TYPE = b"""-----BEGIN PRIVATE KEY-----
MA4CAQAwBQYDKgMEBAIEAA==
-----END PRIVATE KEY-----
"""


def certificates(
    store: Path,
    sites: Mapping[str, object],
    aliases: Mapping[str, str] | None = None,
    former: Certificates | None = None,
) -> Certificates:
    written = {name: {"to": "http://127.0.0.1:1", "tls": tls} for name, tls in sites.items()}
    config = Config.model_validate({"sites": written, "store": str(store)})
    return Certificates(config, Table(config.sites, aliases), aliases or {}, former)


def names_in(context: SSL.Context | None) -> list[str]:
    """The names in the certificate that a client gets from that context."""
    assert context is not None
    return leaf_of(context).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value.get_values_for_type(x509.DNSName)  # fmt: skip


def leaf_of(context: SSL.Context) -> x509.Certificate:
    server, client = (
        SSL.Connection(context, None),
        SSL.Connection(SSL.Context(SSL.TLS_METHOD), None),
    )
    server.set_accept_state()
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    server.bio_write(client.bio_read(65536))
    with pytest.raises(SSL.WantReadError):
        server.do_handshake()
    client.bio_write(server.bio_read(65536))
    client.do_handshake()
    leaf = client.get_peer_certificate(as_cryptography=True)
    assert leaf is not None
    return leaf


def root_of(store: Path) -> bytes:
    return (store / "local-ca" / "root.pem").read_bytes()


# ---- a pair that the operator names


def test_a_sites_own_pair_is_served(tmp_path: Path, authority: Authority) -> None:
    found = certificates(tmp_path, {"a.example": authority.pair("a.example").tls()})
    assert names_in(found.context("a.example")) == ["a.example"]


def test_a_key_of_another_certificate_is_told_with_both_files(
    tmp_path: Path, authority: Authority
) -> None:
    one, other = authority.pair("a.example"), authority.pair("b.example")
    with pytest.raises(StartError) as caught:
        certificates(tmp_path, {"a.example": {"cert": str(one.cert), "key": str(other.key)}})
    assert str(one.cert) in str(caught.value)
    assert str(other.key) in str(caught.value)


def test_a_file_that_is_gone_is_told(tmp_path: Path, authority: Authority) -> None:
    pair = authority.pair("a.example")
    pair.key.unlink()
    with pytest.raises(StartError, match=r"a\.example.*No such file"):
        certificates(tmp_path, {"a.example": pair.tls()})


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\n"])
def test_a_file_that_holds_no_certificate_is_told(
    tmp_path: Path, authority: Authority, content: bytes
) -> None:
    pair = authority.pair("a.example")
    pair.cert.write_bytes(content)
    with pytest.raises(StartError, match="no usable pair"):
        certificates(tmp_path, {"a.example": pair.tls()})


def test_a_key_of_an_unknown_type_is_told_and_the_former_pair_served_on(
    tmp_path: Path, authority: Authority
) -> None:
    pair = authority.pair("a.example")
    found = certificates(tmp_path, {"a.example": pair.tls()})
    pair.key.write_bytes(UNKNOWN_TYPE)
    [problem] = found.look_at_files()
    assert "no usable pair" in problem
    assert names_in(found.context("a.example")) == ["a.example"]


# ---- names


def test_an_exact_sites_certificate_is_preferred_to_a_wildcards(
    tmp_path: Path, authority: Authority
) -> None:
    found = certificates(
        tmp_path,
        {
            "*.example.com": authority.pair("*.example.com").tls(),
            "a.example.com": authority.pair("a.example.com").tls(),
        },
    )
    assert names_in(found.context("a.example.com")) == ["a.example.com"]
    assert names_in(found.context("b.example.com")) == ["*.example.com"]


@pytest.mark.parametrize("name", ["b.example", "", "x.a.example"])
def test_an_unknown_name_has_no_certificate(
    tmp_path: Path, authority: Authority, name: str
) -> None:
    found = certificates(tmp_path, {"a.example": authority.pair("a.example").tls()})
    assert found.context(name) is None


# ---- the store


def test_a_site_whose_certificate_is_still_to_come_has_none_and_stops_no_other(
    tmp_path: Path, authority: Authority
) -> None:
    found = certificates(
        tmp_path, {"new.example": "acme", "a.example": authority.pair("a.example").tls()}
    )
    assert found.context("new.example") is None
    assert found.context("a.example") is not None


@pytest.mark.parametrize(
    ("site", "stem", "asked"),
    [("a.example", "a.example", "a.example"), ("*.example.com", "_.example.com", "x.example.com")],
)
def test_a_certificate_in_the_store_is_served(
    tmp_path: Path, authority: Authority, site: str, stem: str, asked: str
) -> None:
    pair = authority.pair(site)
    (tmp_path / f"{stem}.pem").write_bytes(pair.cert.read_bytes())
    (tmp_path / f"{stem}.key").write_bytes(pair.key.read_bytes())
    found = certificates(tmp_path, {site: "acme"})
    assert names_in(found.context(asked)) == [site]


# ---- the local authority


def test_an_internal_site_is_signed_by_the_stores_own_authority(tmp_path: Path) -> None:
    context = certificates(tmp_path, {"a.example": "internal"}).context("a.example")
    assert context is not None
    root = x509.load_pem_x509_certificate(root_of(tmp_path))
    leaf_of(context).verify_directly_issued_by(root)


def test_an_internal_certificate_holds_the_sites_name_and_its_aliases(tmp_path: Path) -> None:
    aliases = {"a.localhost": "a.example", "b.localhost": "b.example"}
    found = certificates(tmp_path, {"a.example": "internal", "b.example": "internal"}, aliases)
    assert names_in(found.context("a.localhost")) == ["a.example", "a.localhost"]


def test_without_an_internal_site_no_authority_is_made(
    tmp_path: Path, authority: Authority
) -> None:
    store = tmp_path / "store"
    certificates(store, {"a.example": authority.pair("a.example").tls()})
    assert not store.exists()


def test_an_internal_certificate_that_is_not_due_stays(tmp_path: Path) -> None:
    found = certificates(tmp_path, {"a.example": "internal"})
    before = found.context("a.example")
    found.renew_local(NOW + LEAF_LIFETIME / 2)
    assert found.context("a.example") is before


def test_an_internal_certificate_is_signed_anew_with_a_third_of_its_lifetime_left(
    tmp_path: Path,
) -> None:
    found = certificates(tmp_path, {"a.example": "internal"})
    later = datetime.now(UTC) + LEAF_LIFETIME * 2 / 3 + timedelta(minutes=1)
    found.renew_local(later)
    context = found.context("a.example")
    assert context is not None
    assert leaf_of(context).not_valid_after_utc > later + LEAF_LIFETIME - timedelta(minutes=1)


def test_an_internal_certificate_that_memory_was_short_for_is_still_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = certificates(tmp_path, {"a.example": "internal"})
    before = found.context("a.example")

    def no_memory(*_: object) -> SSL.Context:
        raise MemoryError

    with monkeypatch.context() as short:
        short.setattr("proxy.certificates.site_context", no_memory)
        with pytest.raises(MemoryError):
            found.renew_local(NOW + LEAF_LIFETIME)
    found.renew_local(NOW + LEAF_LIFETIME)
    assert found.context("a.example") is not before


def test_a_renewed_internal_certificate_is_due_again_in_its_turn(tmp_path: Path) -> None:
    found = certificates(tmp_path, {"a.example": "internal"})
    served = [found.context("a.example")]
    for week in range(1, 4):
        found.renew_local(NOW + LEAF_LIFETIME * week)
        served.append(found.context("a.example"))
    assert len({id(context) for context in served}) == 4


def test_a_renewal_touches_no_certificate_of_the_operators(
    tmp_path: Path, authority: Authority
) -> None:
    sites = {"a.example": "internal", "b.example": authority.pair("b.example").tls()}
    found = certificates(tmp_path, sites)
    before = found.context("b.example")
    found.renew_local(NOW + LEAF_LIFETIME * 10)
    assert found.context("b.example") is before


# ---- while it serves


def test_files_that_were_replaced_are_found_part_by_part(
    tmp_path: Path, authority: Authority
) -> None:
    """A thousand sites are not all looked at in one go."""
    hosts = [f"{letter}.example" for letter in "abcde"]
    pairs = {host: authority.pair(host) for host in hosts}
    found = certificates(tmp_path, {host: pair.tls() for host, pair in pairs.items()})
    before = {host: found.context(host) for host in hosts}
    for host, pair in pairs.items():
        other = authority.pair(host, "other.example")
        other.key.replace(pair.key)
        other.cert.replace(pair.cert)
    changed = []
    for part in range(3):
        assert found.look_at_files(part, 3) == []
        changed.append([host for host in hosts if found.context(host) is not before[host]])
    assert [len(each) for each in changed] == [2, 4, 5]


# ---- over a reload


def test_what_has_not_changed_is_taken_from_before(tmp_path: Path, authority: Authority) -> None:
    pair = authority.pair("stored.example")
    (tmp_path / "stored.example.pem").write_bytes(pair.cert.read_bytes())
    (tmp_path / "stored.example.key").write_bytes(pair.key.read_bytes())
    sites = {
        "own.example": authority.pair("own.example").tls(),
        "internal.example": "internal",
        "stored.example": "acme",
    }
    before = certificates(tmp_path, sites)
    after = certificates(tmp_path, sites, former=before)
    for name in sites:
        assert after.context(name) is before.context(name)
    assert list(after.ends()) == list(before.ends())


def test_a_file_that_was_replaced_is_loaded(tmp_path: Path, authority: Authority) -> None:
    pair, other = authority.pair("a.example"), authority.pair("a.example", "b.example")
    before = certificates(tmp_path, {"a.example": pair.tls()})
    other.key.replace(pair.key)
    other.cert.replace(pair.cert)
    after = certificates(tmp_path, {"a.example": pair.tls()}, former=before)
    assert names_in(after.context("a.example")) == ["a.example", "b.example"]


def test_a_file_that_was_spoilt_is_told_although_a_good_one_was_known(
    tmp_path: Path, authority: Authority
) -> None:
    pair = authority.pair("a.example")
    before = certificates(tmp_path, {"a.example": pair.tls()})
    pair.cert.write_text("half a certifi")
    with pytest.raises(StartError, match="no usable pair"):
        certificates(tmp_path, {"a.example": pair.tls()}, former=before)


def test_a_certificate_renewed_in_the_store_is_loaded(tmp_path: Path, authority: Authority) -> None:
    pair, other = authority.pair("a.example"), authority.pair("a.example", "b.example")
    (tmp_path / "a.example.pem").write_bytes(pair.cert.read_bytes())
    (tmp_path / "a.example.key").write_bytes(pair.key.read_bytes())
    before = certificates(tmp_path, {"a.example": "acme"})
    other.key.replace(tmp_path / "a.example.key")
    other.cert.replace(tmp_path / "a.example.pem")
    after = certificates(tmp_path, {"a.example": "acme"}, former=before)
    assert names_in(after.context("a.example")) == ["a.example", "b.example"]


def test_a_site_that_changes_its_kind_of_certificate_gets_the_new_one(
    tmp_path: Path, authority: Authority
) -> None:
    before = certificates(tmp_path, {"a.example": "internal"})
    after = certificates(tmp_path, {"a.example": authority.pair("a.example").tls()}, former=before)
    assert after.context("a.example") is not before.context("a.example")
    again = certificates(tmp_path, {"a.example": "internal"}, former=after)
    assert again.context("a.example") is not after.context("a.example")


def test_a_new_local_authority_signs_anew(tmp_path: Path) -> None:
    before = certificates(tmp_path, {"a.example": "internal"})
    for file in ("root.pem", "root.key"):
        (tmp_path / "local-ca" / file).unlink()
    context = certificates(tmp_path, {"a.example": "internal"}, former=before).context("a.example")
    assert context is not None
    leaf_of(context).verify_directly_issued_by(x509.load_pem_x509_certificate(root_of(tmp_path)))


def test_a_further_name_for_an_internal_site_has_it_signed_anew(tmp_path: Path) -> None:
    before = certificates(tmp_path, {"a.example": "internal"})
    aliases = {"a.localhost": "a.example"}
    after = certificates(tmp_path, {"a.example": "internal"}, aliases, former=before)
    assert names_in(after.context("a.localhost")) == ["a.example", "a.localhost"]


def test_what_came_while_memory_was_short_is_taken_with_the_next_look(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = certificates(tmp_path, {"a.example": "acme"})
    pair = authority.pair("a.example")
    (tmp_path / "a.example.pem").write_bytes(pair.cert.read_bytes())
    (tmp_path / "a.example.key").write_bytes(pair.key.read_bytes())
    (tmp_path / "changed").touch()

    def no_memory(*_: object) -> SSL.Context:
        raise MemoryError

    with monkeypatch.context() as short:
        short.setattr("proxy.certificates.site_context", no_memory)
        with pytest.raises(MemoryError):
            found.look_again()
    found.look_again()
    assert names_in(found.context("a.example")) == ["a.example"]


def test_what_came_while_descriptors_were_short_is_taken_with_a_later_look(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = certificates(tmp_path, {"a.example": "acme", "b.example": "acme"})
    pair = authority.pair("a.example")
    (tmp_path / "a.example.pem").write_bytes(pair.cert.read_bytes())
    (tmp_path / "a.example.key").write_bytes(pair.key.read_bytes())
    (tmp_path / "changed").touch()
    with monkeypatch.context() as short:
        short.setattr("acme_client.files.read", lambda _path: None)
        found.look_again()
    assert found.context("a.example") is None
    found.look_again()
    assert names_in(found.context("a.example")) == ["a.example"]


@pytest.mark.parametrize("shortage", [MemoryError(), OSError(errno.EMFILE, "Too many open files")])
def test_a_file_that_was_replaced_while_the_machine_was_short_is_taken_with_a_later_look(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch, shortage: Exception
) -> None:
    pair, other = authority.pair("a.example"), authority.pair("a.example", "b.example")
    found = certificates(tmp_path, {"a.example": pair.tls()})
    other.key.replace(pair.key)
    other.cert.replace(pair.cert)

    def no_more(_: Path) -> bytes:
        raise shortage

    with monkeypatch.context() as short:
        short.setattr(Path, "read_bytes", no_more)
        with suppress(MemoryError):
            assert len(found.look_at_files()) == 1
    assert found.look_at_files() == []
    assert names_in(found.context("a.example")) == ["a.example", "b.example"]


def test_what_an_issuer_remembers_is_read_when_it_has_changed_and_not_before(
    tmp_path: Path,
) -> None:
    known, store = certificates(tmp_path, {"a.example": "acme"}), Store(tmp_path)
    assert list(known.dangers()) == [("a.example", False)]
    assert store.take_lock()
    store.save_state("a.example", State(in_danger=True))
    store.release_lock()
    assert list(known.dangers()) == [("a.example", True)]
    assert known.state("a.example") is known.state("a.example")

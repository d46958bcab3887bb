"""The local authority: one root per folder, private from the first moment, leaves that
strict clients accept."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.local_ca import LocalAuthority, LocalAuthorityError, Pair, renewal_due

NOW = datetime.now(UTC).replace(microsecond=0)
A_DAY = timedelta(days=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store" / "local-ca"


@pytest.fixture
def authority(folder: Path) -> LocalAuthority:
    return LocalAuthority.open(folder, now=NOW)


@contextmanager
def umask(bits: int) -> Iterator[None]:
    before = os.umask(bits)
    try:
        yield
    finally:
        os.umask(before)


def permissions(path: Path) -> str:
    return f"{path.stat().st_mode & 0o777:04o}"


def leaf(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate)


def root(authority: LocalAuthority) -> x509.Certificate:
    return x509.load_pem_x509_certificate(authority.root_certificate)


def strict_handshake(authority: LocalAuthority, pair: Pair, name: str, tmp_path: Path) -> None:
    """A TLS client that trusts the authority alone and keeps to RFC 5280 to the letter, as
    Python 3.13 does by default, connects to `name`. Raises SSLError where it refuses."""
    chain, key = tmp_path / "leaf.pem", tmp_path / "leaf.key"
    chain.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain, key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    client.load_verify_locations(cadata=authority.root_certificate.decode())
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(down, up, server_hostname=name)
    theirs = server.wrap_bio(up, down, server_side=True)
    for side in (ours, theirs, ours, theirs):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert ours.version() == "TLSv1.3"


# ---- the root


def test_the_root_is_made_on_first_use_and_kept(folder: Path) -> None:
    first = LocalAuthority.open(folder, now=NOW)
    again = LocalAuthority.open(folder, now=NOW + 400 * A_DAY)
    assert again.root_certificate == first.root_certificate
    assert (folder / "root.pem").read_bytes() == first.root_certificate


def test_the_root_says_whose_it_is_and_lives_ten_years(authority: LocalAuthority) -> None:
    certificate = root(authority)
    [name] = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert str(name.value).startswith("hopward local authority ")
    assert str(name.value).endswith(f" {NOW.year}")
    assert certificate.issuer == certificate.subject
    lifetime = certificate.not_valid_after_utc - NOW
    assert 3650 * A_DAY <= lifetime <= 3653 * A_DAY


def test_a_long_hostname_still_makes_a_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "h" * 64)
    certificate = root(LocalAuthority.open(folder, now=NOW))
    [name] = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert "hhh" in str(name.value)


def test_the_root_may_sign_leaves_and_nothing_deeper(authority: LocalAuthority) -> None:
    extensions = root(authority).extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert not usage.value.digital_signature


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777], ids=oct)
def test_folder_and_files_are_private_whatever_the_umask(folder: Path, mask: int) -> None:
    with umask(mask):
        LocalAuthority.open(folder, now=NOW)
    found = {path.name: permissions(path) for path in (folder, *folder.iterdir())}
    assert found == {"local-ca": "0700", "root.pem": "0600", "root.key": "0600"}


def test_no_file_is_open_to_others_even_while_it_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    born: dict[str, int] = {}
    real_open = os.open

    def watching_open(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = real_open(path, flags, mode)
        if flags & os.O_CREAT:
            born[Path(path).name] = os.fstat(descriptor).st_mode & 0o777
        return descriptor

    monkeypatch.setattr("proxy.local_ca.os.open", watching_open)
    with umask(0):
        LocalAuthority.open(folder, now=NOW)
    assert born == {".root.key.new": 0o600, ".root.pem.new": 0o600}


def test_a_key_that_was_left_open_to_others_is_closed_again(folder: Path) -> None:
    LocalAuthority.open(folder, now=NOW)
    (folder / "root.key").chmod(0o644)
    folder.chmod(0o755)
    LocalAuthority.open(folder, now=NOW)
    assert permissions(folder / "root.key") == "0600"
    assert permissions(folder) == "0700"


def test_processes_that_come_first_together_get_the_same_root(folder: Path) -> None:
    program = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path\n"
        "from proxy.local_ca import LocalAuthority\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "authority = LocalAuthority.open(Path(sys.argv[1]), now=datetime.now(UTC))\n"
        "sys.stdout.write(authority.root_certificate.decode())\n"
    )
    command = [sys.executable, "-c", program, str(folder)]
    starters = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for starter in starters:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ready\n"
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("go\n")
        starter.stdin.flush()
    roots = {starter.communicate(timeout=30)[0] for starter in starters}
    assert roots == {(folder / "root.pem").read_text()}


@pytest.mark.parametrize("left", [timedelta(days=29), timedelta(days=-1)], ids=["soon", "past"])
def test_a_root_near_or_past_its_end_is_replaced(folder: Path, left: timedelta) -> None:
    old = LocalAuthority.open(folder, now=NOW)
    later = root(old).not_valid_after_utc - left
    new = LocalAuthority.open(folder, now=later)
    assert root(new).not_valid_after_utc > later + 3650 * A_DAY
    assert LocalAuthority.open(folder, now=later).root_certificate == new.root_certificate


def test_a_root_with_31_days_left_stays(folder: Path) -> None:
    old = LocalAuthority.open(folder, now=NOW)
    later = root(old).not_valid_after_utc - 31 * A_DAY
    assert LocalAuthority.open(folder, now=later).root_certificate == old.root_certificate


def test_a_first_use_cut_short_before_the_certificate_is_started_again(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "root.key").write_bytes(b"")
    (folder / ".root.pem.new").write_bytes(b"-----BEGIN CERT")
    authority = LocalAuthority.open(folder, now=NOW)
    assert (folder / "root.pem").read_bytes() == authority.root_certificate


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("root.pem", b"", "not a whole root certificate"),
        ("root.pem", b"\xff\x00 not PEM", "not a whole root certificate"),
        ("root.key", b"not a key", "not a private key"),
        ("root.key", None, "is missing"),
    ],
    ids=["empty certificate", "garbled certificate", "garbled key", "no key"],
)
def test_a_damaged_root_is_named_and_never_replaced(
    folder: Path, file: str, content: bytes | None, why: str
) -> None:
    LocalAuthority.open(folder, now=NOW)
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(LocalAuthorityError, match=why) as refusal:
        LocalAuthority.open(folder, now=NOW)
    assert str(refusal.value).startswith(f"{folder / file}: ")
    assert f"remove {folder}" in str(refusal.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_key_of_another_root_is_refused(folder: Path, tmp_path: Path) -> None:
    LocalAuthority.open(folder, now=NOW)
    LocalAuthority.open(tmp_path / "other", now=NOW)
    (tmp_path / "other" / "root.key").replace(folder / "root.key")
    with pytest.raises(LocalAuthorityError, match=r"root\.key: is not the key of root\.pem"):
        LocalAuthority.open(folder, now=NOW)


def test_a_leaf_in_the_roots_place_is_refused(folder: Path, authority: LocalAuthority) -> None:
    (folder / "root.pem").write_bytes(authority.issue(["a.test"], now=NOW).certificate)
    with pytest.raises(LocalAuthorityError, match=r"root\.pem: is not"):
        LocalAuthority.open(folder, now=NOW)


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LocalAuthorityError, match=r"file.*: Not a directory|File exists"):
        LocalAuthority.open(tmp_path / "file" / "local-ca", now=NOW)


# ---- leaves


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        (["api.localhost"], "api.localhost"),
        (["*.apps.example.com"], "one.apps.example.com"),
        (["127.0.0.1"], "127.0.0.1"),
        (["::1"], "::1"),
        (["[::1]"], "::1"),
        (["Grafana.Example.COM."], "grafana.example.com"),
        (["api.example.com", "api.localhost", "127.0.0.1"], "api.localhost"),
    ],
)
def test_a_strict_client_that_trusts_the_root_accepts_the_leaf(
    authority: LocalAuthority, tmp_path: Path, names: list[str], asked: str
) -> None:
    strict_handshake(authority, authority.issue(names, now=NOW), asked, tmp_path)


def test_a_client_refuses_the_leaf_for_another_name(
    authority: LocalAuthority, tmp_path: Path
) -> None:
    pair = authority.issue(["api.localhost"], now=NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        strict_handshake(authority, pair, "grafana.localhost", tmp_path)


def test_a_client_of_another_authority_refuses_the_leaf(
    authority: LocalAuthority, tmp_path: Path
) -> None:
    other = LocalAuthority.open(tmp_path / "other", now=NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        strict_handshake(other, authority.issue(["a.test"], now=NOW), "a.test", tmp_path)


def test_a_leaf_lives_a_week_and_begins_five_minutes_ago(authority: LocalAuthority) -> None:
    pair = authority.issue(["api.localhost"], now=NOW)
    assert pair.not_before == NOW - timedelta(minutes=5)
    assert pair.not_after == NOW + 7 * A_DAY
    certificate = leaf(pair)
    assert certificate.not_valid_before_utc == pair.not_before
    assert certificate.not_valid_after_utc == pair.not_after


def test_a_leaf_never_outlives_its_root(authority: LocalAuthority) -> None:
    end = root(authority).not_valid_after_utc
    assert authority.issue(["a.test"], now=end - 2 * A_DAY).not_after == end


def test_an_expired_root_issues_nothing(authority: LocalAuthority) -> None:
    with pytest.raises(LocalAuthorityError, match="expired"):
        authority.issue(["a.test"], now=root(authority).not_valid_after_utc)


def test_a_leaf_serves_only_and_names_only_what_was_asked(authority: LocalAuthority) -> None:
    extensions = leaf(authority.issue(["a.test", "127.0.0.1"], now=NOW)).extensions
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["a.test", "127.0.0.1"]


def test_a_leaf_points_at_the_roots_key(authority: LocalAuthority) -> None:
    pair = authority.issue(["a.test"], now=NOW)
    ours = leaf(pair).extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    theirs = root(authority).extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert ours.key_identifier == theirs.digest
    leaf(pair).verify_directly_issued_by(root(authority))


def test_every_leaf_has_its_own_p256_key_and_serial(authority: LocalAuthority) -> None:
    one, two = (authority.issue(["a.test"], now=NOW) for _ in range(2))
    assert one.key != two.key
    assert leaf(one).serial_number != leaf(two).serial_number
    assert one.key.startswith(b"-----BEGIN PRIVATE KEY-----")
    key = serialization.load_pem_private_key(one.key, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert key.public_key() == leaf(one).public_key()


@pytest.mark.parametrize("names", [[], [""], ["bücher.example"]], ids=["none", "empty", "unicode"])
def test_names_no_certificate_can_hold_are_refused(
    authority: LocalAuthority, names: list[str]
) -> None:
    with pytest.raises(LocalAuthorityError):
        authority.issue(names, now=NOW)


@pytest.mark.parametrize(
    ("share_gone", "due"), [(0.0, False), (0.66, False), (0.67, True), (1.0, True), (2.0, True)]
)
def test_a_leaf_is_due_when_two_thirds_of_its_life_are_gone(
    authority: LocalAuthority, share_gone: float, due: bool
) -> None:
    pair = authority.issue(["a.test"], now=NOW)
    lifetime = pair.not_after - pair.not_before
    assert renewal_due(pair, now=pair.not_before + lifetime * share_gone) is due


def test_a_leaf_of_the_future_is_due_for_the_clock_was_set(authority: LocalAuthority) -> None:
    pair = authority.issue(["a.test"], now=NOW)
    assert renewal_due(pair, now=pair.not_before - timedelta(days=365))

"""A file becomes a configuration, or every problem it has: with line and column, all at once."""

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.config import Address, CertificateFiles
from proxy.config.file import ConfigError, Loaded, load

TABLE = Path(__file__).parent / "config"
BROKEN = sorted(path.name for path in TABLE.joinpath("broken").glob("*.yml"))
VALID = sorted(path.name for path in TABLE.joinpath("valid").glob("*.yml"))
SITE = "sites: {a.example.com: {to: http://127.0.0.1:3000, tls: internal}}\n"

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes hopward.yml in the current folder, so that problems name it by these ten letters."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        path = Path("hopward.yml")
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problems(
    path: Path, environ: dict[str, str] | None = None, *, local: bool = False
) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        load(path, environ or {}, local=local)
    assert str(refusal.value) == "\n".join(map(str, refusal.value.problems))
    return [str(problem) for problem in refusal.value.problems]


def warnings(loaded: Loaded) -> list[str]:
    return [str(warning) for warning in loaded.warnings]


# The table of files: each beside the lines it is answered with.


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_answered_with_all_its_problems(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(TABLE / "broken")
    assert problems(Path(name)) == Path(name).with_suffix(".txt").read_text().splitlines()


@pytest.mark.parametrize("name", VALID)
def test_a_valid_file_is_answered_with_what_does_nothing_yet(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(TABLE / "valid")
    assert warnings(load(Path(name), {})) == Path(name).with_suffix(".txt").read_text().splitlines()


def test_the_example_is_valid() -> None:
    example = Path(__file__).parent.parent / "config.example.yml"
    assert set(load(example, {}).config.sites) == {
        "api.example.com", "http1.example.com", "grafana.example.com",
    }  # fmt: skip


def test_a_missing_file_is_one_problem(write: Write) -> None:
    assert problems(Path("nowhere.yml")) == [
        "nowhere.yml:1:1: the file cannot be read: No such file or directory"
    ]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert problems(tmp_path) == [f"{tmp_path}:1:1: the file cannot be read: Is a directory"]


def test_a_file_nested_too_deeply_is_one_problem(write: Write) -> None:
    path = write("sites: " + "[" * 5000)
    assert problems(path) == [
        "hopward.yml:1:1: the file is nested too deeply; no key needs more than six levels"
    ]


def test_aliases_of_aliases_cost_nothing(write: Write) -> None:
    doubled = "".join(f"x{n}: &x{n} [*x{n - 1}, *x{n - 1}]\n" for n in range(1, 64))
    assert len(problems(write(f"x0: &x0 [a]\n{doubled}{SITE}"))) == 64


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(alphabet=st.sampled_from(list("aest:- \n\t'\"{}[]&*!|>#,${}1.\\é\x00\ufeff"))))
def test_whatever_a_file_holds_is_answered_with_lines_and_no_traceback(
    write: Write, text: str
) -> None:
    for line in problems(write(f"sites:\n  a.example.com: {text}\nx: 1")):
        assert line.startswith("hopward.yml:")
        assert "\n" not in line


def test_a_byte_order_mark_is_passed_over(write: Write) -> None:
    assert load(write("\ufeff" + SITE), {}).config.sites


# Scalars: nothing is guessed.


@pytest.mark.parametrize("text", ["1:30", "2001-01-01", "off", "on", "yes", "0123", "1.10", "1e3"])
def test_a_header_value_is_the_text_as_it_stands(write: Write, text: str) -> None:
    path = write(
        "sites: {a.example.com: {to: http://127.0.0.1:3000, tls: internal, "
        f"request_headers: {{X-A: {text}}}}}}}"
    )
    assert load(path, {}).config.sites["a.example.com"].request_headers == {"X-A": text}


@pytest.mark.parametrize("off", ["off", "false", "'off'", "null"])
def test_off_switches_off_however_it_is_written(write: Write, off: str) -> None:
    made = load(write(f"timeouts: {{connect: {off}}}\naccess_log: {off}\n{SITE}"), {}).config
    assert (made.timeouts.connect, made.access_log) == (None, None)


def test_a_written_null_is_not_the_text_null(write: Write) -> None:
    path = write(
        "sites: {a.example.com: {to: http://127.0.0.1:3000, tls: internal, "
        "request_headers: {X-A: null, X-B: 'null'}}}"
    )
    fields = load(path, {}).config.sites["a.example.com"].request_headers
    assert fields == {"X-A": None, "X-B": "null"}


# The environment.


@pytest.mark.parametrize(
    ("environ", "workers"), [({}, 2), ({"N": "3"}, 3), ({"N": ""}, 2), ({"N": "auto"}, "auto")]
)
def test_a_variable_has_its_value_or_the_default(
    write: Write, environ: dict[str, str], workers: int | str
) -> None:
    assert load(write("workers: ${N:-2}\n" + SITE), environ).config.workers == workers


def test_a_variable_may_be_part_of_a_value(write: Write) -> None:
    path = write('sites: {a.example.com: {to: "http://${HOST}:${PORT:-3000}", tls: internal}}')
    (origin,) = load(path, {"HOST": "10.0.0.1"}).config.sites["a.example.com"].to
    assert (origin.host, origin.port) == ("10.0.0.1", 3000)


def test_what_is_not_asked_for_may_be_of_variables_that_are_not_set(write: Write) -> None:
    path = write(SITE + "store: here\nalerts: {smtp: {password: '${NAME}'}}\nworkers: '${NAME}'\n")
    config = load(path, {}, only=("sites", "store")).config
    assert (config.store, config.alerts.smtp) == (Path("here"), None)


def test_what_is_asked_for_may_not(write: Write) -> None:
    path = write(SITE + "store: ${NAME}\nnonsense: 1\n")
    with pytest.raises(ConfigError) as refusal:
        load(path, {}, only=("sites", "store"))
    assert [(problem.line, problem.column) for problem in refusal.value.problems] == [
        (2, 8),
        (3, 1),
    ]


def test_a_value_from_the_environment_is_judged_as_if_it_were_written(write: Write) -> None:
    assert problems(write("workers: ${N}\n" + SITE), {"N": "many"}) == [
        "hopward.yml:1:10: 'many' is not a whole number; write 1 or more, or auto"
    ]


def test_a_value_from_the_environment_is_not_read_as_yaml(write: Write) -> None:
    path = write(
        "sites: {a.example.com: {to: http://a, tls: internal, request_headers: {A: '${V}'}}}"
    )
    fields = load(path, {"V": "${X} {b: [c"}).config.sites["a.example.com"].request_headers
    assert fields == {"A": "${X} {b: [c"}


def test_a_doubled_dollar_is_no_variable(write: Write) -> None:
    path = write(
        "sites: {a.example.com: {to: http://a, tls: internal, request_headers: {A: '$${V}'}}}"
    )
    assert load(path, {}).config.sites["a.example.com"].request_headers == {"A": "${V}"}


def test_a_key_takes_no_variable(write: Write) -> None:
    assert problems(write('"${NAME}": 1\n' + SITE), {"NAME": "workers"})[0].startswith(
        "hopward.yml:1:1: unknown key '${NAME}', known are "
    )


# Local use.


def test_local_use_needs_no_certificates(write: Write) -> None:
    path = write(
        "sites: {a.example.com: {to: http://a, tls: {cert: a.pem, key: a.key}}, b: http://b}"
    )
    loaded = load(path, {"HOME": "/home/me"}, local=True)
    assert {site.tls for site in loaded.config.sites.values()} == {"internal"}
    assert loaded.config.listen.https == (Address("::1", 8443), Address("127.0.0.1", 8443))
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("platform", "environ", "store"),
    [
        ("linux", {"HOME": "/home/me"}, "/home/me/.local/share/hopward"),
        ("linux", {"HOME": "/home/me", "XDG_DATA_HOME": "/data"}, "/data/hopward"),
        ("darwin", {"HOME": "/Users/me"}, "/Users/me/Library/Application Support/hopward"),
    ],
)
def test_local_use_stores_in_the_user_s_data_folder(
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    environ: dict[str, str],
    store: str,
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    assert load(write(SITE), environ, local=True).config.store == Path(store)


# The certificates that a file names.


def make_certificate(
    folder: Path,
    name: str,
    *names: str,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    end: datetime.datetime = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC),
    passphrase: bytes | None = None,
) -> None:
    """Writes `name`.pem, for `names`, and `name`.key."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1)
    builder = builder.not_valid_before(datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC))
    builder = builder.not_valid_after(end)
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=True)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    folder.joinpath(f"{name}.pem").write_bytes(pem)
    folder.joinpath(f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase)
            if passphrase
            else serialization.NoEncryption(),
        )
    )


def with_files(host: str, cert: str = "a.pem", key: str = "a.key") -> str:
    return (
        f'sites:\n  "{host}":\n    to: http://127.0.0.1:3000\n'
        f"    tls:\n      cert: {cert}\n      key: {key}\n"
    )


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("a.example.com", "a.example.com"),
        ("A.example.com.", "a.example.com"),
        ("a.example.com", "*.example.com"),
        ("*.example.com", "*.example.com"),
    ],
)
def test_a_certificate_for_the_site_is_taken(write: Write, host: str, name: str) -> None:
    make_certificate(Path(), "a", "other.example", name)
    (site,) = load(write(with_files(host)), {}).config.sites.values()
    assert site.tls == CertificateFiles(cert=Path("a.pem"), key=Path("a.key"))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("b.example.com", "*.a.example.com"), "*.a.example.com, b.example.com"),
        ((), "no name at all"),
    ],
)
def test_a_certificate_for_another_site_is_refused(
    write: Write, names: tuple[str, ...], said: str
) -> None:
    make_certificate(Path(), "a", *names)
    assert problems(write(with_files("a.example.com"))) == [
        f"hopward.yml:5:13: 'a.pem' is not for a.example.com but for {said}; "
        "name that site's certificate"
    ]


def test_a_key_of_another_certificate_is_refused(write: Write) -> None:
    make_certificate(Path(), "a", "a.example.com")
    make_certificate(Path(), "b", "b.example.com")
    assert problems(write(with_files("a.example.com", key="b.key"))) == [
        "hopward.yml:6:12: 'b.key' is not the key of 'a.pem'; name the key it was issued for"
    ]


def test_a_pair_found_sound_is_judged_anew_when_one_of_its_files_changes(write: Write) -> None:
    make_certificate(Path(), "a", "a.example.com")
    make_certificate(Path(), "b", "b.example.com")
    path = write(with_files("a.example.com"))
    load(path, {})
    Path("b.key").replace("a.key")
    assert problems(path) == [
        "hopward.yml:6:12: 'a.key' is not the key of 'a.pem'; name the key it was issued for"
    ]


def test_a_key_with_a_passphrase_is_refused(write: Write) -> None:
    make_certificate(Path(), "a", "a.example.com", passphrase=b"secret")
    assert problems(write(with_files("a.example.com"))) == [
        "hopward.yml:6:12: 'a.key' has a passphrase; write it without one, by: openssl pkey"
    ]


def test_a_certificate_in_place_of_a_key_is_refused(write: Write) -> None:
    make_certificate(Path(), "a", "a.example.com")
    assert problems(write(with_files("a.example.com", key="a.pem"))) == [
        "hopward.yml:6:12: 'a.pem' holds no private key in PEM"
    ]


def test_a_key_too_short_for_tls_is_refused(write: Write) -> None:
    short = rsa.generate_private_key(65537, 1024)
    make_certificate(Path(), "a", "a.example.com", key=short)
    assert problems(write(with_files("a.example.com"))) == [
        "hopward.yml:5:13: 'a.pem' has a key of 1024 bits; RSA needs 2048 or more"
    ]


def test_an_expired_certificate_is_served_but_warned_of(write: Write) -> None:
    end = datetime.datetime(2001, 2, 3, tzinfo=datetime.UTC)
    make_certificate(Path(), "a", "a.example.com", end=end)
    assert warnings(load(write(with_files("a.example.com")), {})) == [
        "hopward.yml:5:13: warning: this certificate expired on 2001-02-03, "
        "and is served all the same"
    ]


def test_files_are_looked_for_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    make_certificate(tmp_path, "a", "a.example.com")
    path = tmp_path / "hopward.yml"
    path.write_text(with_files("a.example.com"))
    (site,) = load(path, {}).config.sites.values()
    assert site.tls == CertificateFiles(cert=tmp_path / "a.pem", key=tmp_path / "a.key")


def test_a_bundle_of_authorities_is_taken(write: Write) -> None:
    make_certificate(Path(), "ca")
    path = write(
        "sites: {a.example.com: {to: {url: https://127.0.0.1:3000, ca: ca.pem}, tls: internal}}"
    )
    (origin,) = load(path, {}).config.sites["a.example.com"].to
    assert origin.ca == Path("ca.pem")

"""`hopward trust`: what is planned for each kind of machine, and how it is reported."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.errors import OperatorError
from proxy.local_ca import LocalAuthority
from proxy.trust import (
    ANCHORS,
    KEYCHAIN,
    TELL_HOOKS,
    Authority,
    Errand,
    Machine,
    carry_out,
    plan,
    read,
    survey,
    trust,
)

FEDORA, DEBIAN, ARCH, SUSE = ANCHORS
HOME = Path("/home/ada")
ROOT = Authority(
    Path("/store/root.pem"), "hopward local authority box 2026 1a2b", "hopward-1a2b", "5A"
)
CHROMIUM = HOME / ".pki/nssdb"
FIREFOX = HOME / ".mozilla/firefox/x1.default"
DEBIAN_FILE = "/usr/local/share/ca-certificates/hopward-1a2b.crt"

USER = Machine(
    system="Linux",
    home=HOME,
    superuser=False,
    borrowed=False,
    programs={
        "sudo": "/usr/bin/sudo",
        "certutil": "/usr/bin/certutil",
        "update-ca-certificates": "/usr/sbin/update-ca-certificates",
        "update-ca-trust": "/usr/bin/update-ca-trust",
        "trust": "/usr/bin/trust",
        "apt-get": "/usr/bin/apt-get",
    },
    anchors=DEBIAN,
    installed=False,
    databases={CHROMIUM: False},
)
TRUSTED = replace(USER, installed=True, databases={CHROMIUM: True, FIREFOX: True})
MAC = replace(
    USER,
    system="Darwin",
    programs={"sudo": "/usr/bin/sudo", "security": "/usr/bin/security"},
    anchors=None,
    databases={},
)


def without(machine: Machine, *programs: str) -> Machine:
    return replace(
        machine, programs={k: v for k, v in machine.programs.items() if k not in programs}
    )


def commands(machine: Machine, *, uninstall: bool = False) -> list[str]:
    errands = plan(ROOT, machine, uninstall=uninstall)
    return [" ".join(command) for errand in errands for command in errand.commands]


def outcomes(machine: Machine, *, uninstall: bool = False) -> list[str]:
    return [f"{e.store}: {e.outcome}" for e in plan(ROOT, machine, uninstall=uninstall)]


# ---- the system's store


def test_debian_gets_the_root_among_its_local_certificates() -> None:
    assert commands(USER)[:2] == [
        f"/usr/bin/sudo -- install -m 0644 /store/root.pem {DEBIAN_FILE}",
        "/usr/bin/sudo -- /usr/sbin/update-ca-certificates",
    ]


def test_debian_gives_it_back_on_uninstall() -> None:
    assert commands(TRUSTED, uninstall=True)[:3] == [
        f"/usr/bin/sudo -- rm -f {DEBIAN_FILE}",
        "/usr/bin/sudo -- /usr/sbin/update-ca-certificates --fresh",
        f"/usr/bin/sudo -- sh -c {TELL_HOOKS} sh hopward-1a2b",
    ]


@pytest.mark.parametrize(
    ("anchors", "file", "refresh"),
    [
        (
            FEDORA,
            "/etc/pki/ca-trust/source/anchors/hopward-1a2b.pem",
            "/usr/bin/update-ca-trust extract",
        ),
        (
            ARCH,
            "/etc/ca-certificates/trust-source/anchors/hopward-1a2b.crt",
            "/usr/bin/trust extract-compat",
        ),
        (
            SUSE,
            "/usr/share/pki/trust/anchors/hopward-1a2b.pem",
            "/usr/sbin/update-ca-certificates",
        ),
    ],
    ids=["Fedora", "Arch", "SUSE"],
)
def test_each_family_has_its_own_place(anchors: object, file: str, refresh: str) -> None:
    root = replace(USER, superuser=True, anchors=anchors, databases={})  # type: ignore[arg-type]
    assert commands(root)[:2] == [f"install -m 0644 /store/root.pem {file}", refresh]
    installed = replace(root, installed=True)
    assert commands(installed, uninstall=True) == [f"rm -f {file}", refresh]


def test_root_needs_no_sudo() -> None:
    assert not [c for c in commands(replace(USER, superuser=True)) if "sudo" in c]


def test_a_user_without_sudo_is_told_what_root_has_to_run() -> None:
    [system, *_] = plan(ROOT, without(USER, "sudo"), uninstall=False)
    assert system.hopeless
    assert not system.commands
    assert f"install -m 0644 /store/root.pem {DEBIAN_FILE} && " in system.outcome


def test_a_system_without_a_store_is_told_which_package_brings_one() -> None:
    [system, *_] = plan(ROOT, replace(USER, anchors=None), uninstall=False)
    assert system.hopeless
    assert "`apt-get install ca-certificates`" in system.outcome


def test_a_mac_gets_it_in_the_system_keychain() -> None:
    assert commands(MAC) == [
        "/usr/bin/sudo -- /usr/bin/security add-trusted-cert -d -r trustRoot"
        f" -k {KEYCHAIN} /store/root.pem"
    ]


def test_a_mac_gives_it_back_by_its_sha1() -> None:
    assert commands(replace(MAC, installed=True), uninstall=True) == [
        "/usr/bin/sudo -- /usr/bin/security remove-trusted-cert -d /store/root.pem",
        f"/usr/bin/sudo -- /usr/bin/security delete-certificate -Z 5A {KEYCHAIN}",
    ]


# ---- the browsers' databases


def test_every_database_gets_the_root_as_an_authority_for_servers_only() -> None:
    machine = replace(USER, databases={CHROMIUM: False, FIREFOX: False})
    assert commands(machine)[2:] == [
        f"/usr/bin/certutil -A -d sql:{database} -t C,, -n {ROOT.nickname} -i /store/root.pem"
        for database in (CHROMIUM, FIREFOX)
    ]


def test_chromiums_database_is_made_when_it_is_missing() -> None:
    assert commands(replace(USER, databases={}))[2:4] == [
        f"mkdir -p -m 0700 {CHROMIUM}",
        f"/usr/bin/certutil -N -d sql:{CHROMIUM} --empty-password",
    ]


def test_no_database_is_made_that_would_hide_chromiums_newer_one() -> None:
    newer = replace(USER, databases={HOME / ".local/share/pki/nssdb": False})
    assert outcomes(newer)[1:] == ["browsers (~/.local/share/pki/nssdb): trusts it"]


def test_a_mac_gets_no_database_made_as_chrome_reads_the_keychain_there() -> None:
    assert not [c for c in commands(MAC) if "certutil" in c]


def test_a_database_that_holds_it_is_left_as_it_is() -> None:
    assert len(commands(TRUSTED)) == 2
    assert outcomes(TRUSTED)[1:] == [
        "browsers (~/.pki/nssdb): trusts it already",
        "browsers (~/.mozilla/firefox/x1.default): trusts it already",
    ]


def test_uninstall_takes_it_out_of_every_database_that_holds_it() -> None:
    machine = replace(TRUSTED, databases={CHROMIUM: False, FIREFOX: True})
    assert commands(machine, uninstall=True)[3:] == [
        f"/usr/bin/certutil -D -d sql:{FIREFOX} -n {ROOT.nickname}"
    ]


def test_uninstall_where_nothing_was_installed_runs_nothing() -> None:
    assert commands(USER, uninstall=True) == []
    assert commands(replace(USER, databases={}), uninstall=True) == []
    assert commands(MAC, uninstall=True) == []


def test_without_certutil_the_package_is_named_and_the_system_still_served() -> None:
    machine = without(USER, "certutil")
    assert len(commands(machine)) == 2
    assert "`apt-get install libnss3-tools`" in outcomes(machine)[1]
    assert not any(errand.hopeless for errand in plan(ROOT, machine, uninstall=False))


def test_under_sudo_no_users_database_becomes_roots() -> None:
    borrowed = replace(USER, superuser=True, borrowed=True)
    assert not [c for c in commands(borrowed) if "nssdb" in c]
    assert "without it" in outcomes(borrowed)[1]


# ---- carrying out, and what is said


def said(errand: Errand) -> tuple[int, list[str]]:
    """The exit code, and the lines on stdout of a success, on stderr of a failure."""
    told: list[str] = []
    complained: list[str] = []
    code = carry_out(errand, told.append, complained.append)
    assert (told if code else complained) == []
    return code, told + complained


def test_an_errand_that_succeeds_says_its_outcome_in_one_line() -> None:
    assert said(Errand("store", "trusts it", (("true",), ("true",)))) == (0, ["store: trusts it"])


def test_an_errand_stops_at_the_command_that_fails_and_says_why(tmp_path: Path) -> None:
    fails = (sys.executable, "-c", "import sys; sys.exit('first\\nthe reason')")
    code, lines = said(Errand("store", "trusts it", (fails, ("touch", str(tmp_path / "after")))))
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith("store: `")
    assert lines[0].endswith("` failed: the reason")
    assert not (tmp_path / "after").exists()


def test_a_command_that_is_not_there_is_one_line_too() -> None:
    code, [line] = said(Errand("store", "trusts it", (("/nowhere/certutil", "-A"),)))
    assert code == 1
    assert line == "store: `/nowhere/certutil -A` failed: No such file or directory"


def test_a_hopeless_errand_is_a_failure() -> None:
    assert said(Errand("store", "no sudo", hopeless=True)) == (1, ["store: no sudo"])


def test_trust_before_there_is_an_authority_says_how_to_have_one(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as told:
        trust(tmp_path / "root.pem", uninstall=False, say=print, complain=print)
    assert str(told.value) == (
        f"{tmp_path}/root.pem: No such file or directory; `hopward run --local` makes it"
    )


def test_a_root_that_is_gone_is_not_to_be_made_to_take_it_out(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"has the name hopward-local-authority-…") as told:
        trust(tmp_path / "root.pem", uninstall=True, say=print, complain=print)
    assert "run --local" not in str(told.value)


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_text("hello")
    with pytest.raises(OperatorError, match=r"/root\.pem: is not a certificate$"):
        trust(tmp_path / "root.pem", uninstall=False, say=print, complain=print)


def test_two_roots_have_two_names_in_the_stores(tmp_path: Path) -> None:
    roots = [tmp_path / name / "root.pem" for name in ("one", "two")]
    for root in roots:
        LocalAuthority.open(root.parent, now=datetime.now(UTC))
    one, two = map(read, roots)
    assert one.nickname != two.nickname
    assert one.stem != two.stem


def test_the_survey_finds_chromiums_firefoxs_and_the_snaps_databases(tmp_path: Path) -> None:
    expected = [
        ".pki/nssdb",
        "snap/chromium/current/.pki/nssdb",
        ".mozilla/firefox/a.default",
        ".mozilla/firefox/b.dev",
        "snap/firefox/common/.mozilla/firefox/c.default",
    ]
    for name in [*expected, ".mozilla/firefox/Crash Reports"]:
        (tmp_path / name).mkdir(parents=True)
    for name in expected:
        (tmp_path / name / "cert9.db").touch()
    machine = survey(ROOT, {"HOME": str(tmp_path), "PATH": "/nowhere"})
    assert [str(d.relative_to(tmp_path)) for d in machine.databases] == expected

"""What the checks have found, between processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from proxy.config import Origin
from proxy.findings import Finding, Findings
from proxy.health import DIGEST_BYTES, Check
from tests.programs import wait_for

NOW = 1000.0


def check(number: int, every: float = 10.0) -> Check:
    key = number.to_bytes(DIGEST_BYTES, "big")
    return Check(Origin("http", "127.0.0.1", number), "a", "/", every, key)


def finding(*, healthy: bool = True, checked: float = NOW, reason: str = "") -> Finding:
    return Finding(checked, 5.0, healthy, reason)


def forked(life: Callable[[], object]) -> int:
    """The process id of a child whose whole life is this; it exits with 0 if that is true."""
    child = os.fork()
    if not child:
        try:
            os._exit(0 if life() else 1)
        finally:
            os._exit(2)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_what_nobody_has_checked_is_taken_for_well() -> None:
    findings = Findings()
    assert findings.read(check(1), NOW) is None
    assert findings.healthy(check(1), NOW)


def test_a_finding_is_read_as_it_was_written() -> None:
    findings = Findings()
    written = finding(healthy=False, reason="status 503")
    findings.write(check(1), written)
    assert findings.read(check(1), NOW) == written
    assert not findings.healthy(check(1), NOW)


def test_findings_do_not_get_in_each_others_way() -> None:
    findings = Findings()
    for number in range(1, 100):
        findings.write(check(number), finding(healthy=bool(number % 3)))
    assert [findings.healthy(check(number), NOW) for number in range(1, 100)] == [
        bool(number % 3) for number in range(1, 100)
    ]


def test_a_finding_that_has_grown_old_says_nothing() -> None:
    """Whoever checked is gone, and nobody has taken its place."""
    findings = Findings()
    findings.write(check(1), finding(healthy=False))
    old = check(1).stale_after() + 1
    assert not findings.healthy(check(1), NOW + old - 2)
    assert findings.healthy(check(1), NOW + old)


def test_a_reason_of_any_length_and_spelling_is_kept_within_its_bounds() -> None:
    findings = Findings()
    findings.write(check(1), finding(reason="ü" * 500))
    found = findings.read(check(1), NOW)
    assert found is not None
    assert found.reason.startswith("üüü")


def test_the_check_that_is_gone_for_longest_makes_room() -> None:
    findings = Findings(slots=3)
    for number in (1, 2, 3):
        findings.write(check(number), finding(healthy=False, checked=NOW + number))
    findings.write(check(1), finding(healthy=False, checked=NOW + 4))
    findings.write(check(4), finding(healthy=False, checked=NOW + 5))
    assert [findings.healthy(check(number), NOW) for number in (1, 2, 3, 4)] == [
        False, True, False, False,
    ]  # fmt: skip


def test_a_process_reads_what_another_wrote_before_and_since() -> None:
    findings = Findings()
    findings.write(check(1), finding(healthy=False))
    assert not findings.healthy(check(1), NOW)

    def write() -> bool:
        known = not findings.healthy(check(1), NOW)
        findings.write(check(2), finding(healthy=False))
        findings.write(check(1), finding(healthy=True))
        return known

    assert ended(forked(write)) == 0
    assert [findings.healthy(check(number), NOW) for number in (1, 2)] == [True, False]


def test_one_process_leads() -> None:
    findings = Findings()
    assert findings.lead()
    assert ended(forked(lambda: not findings.lead())) == 0
    findings.follow()
    assert ended(forked(findings.lead)) == 0


def test_who_leads_loses_the_lead_with_its_life() -> None:
    findings = Findings()
    leads, tell = os.pipe()

    def lead() -> None:
        if findings.lead():
            os.write(tell, b"l")
            signal.pause()

    child = forked(lead)
    os.read(leads, 1)
    assert not findings.lead()
    os.kill(child, signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL
    wait_for(findings.lead, what="the lead")
    for end in (leads, tell):
        os.close(end)


def test_a_finding_is_never_read_in_parts() -> None:
    findings = Findings()
    pair = [finding(healthy=True, reason="a" * 79), finding(healthy=False, reason="b" * 79)]
    findings.write(check(1), pair[0])

    def write() -> bool:
        while True:
            for each in pair:
                findings.write(check(1), each)

    child = forked(write)
    try:
        seen = {findings.read(check(1), NOW) for _ in range(20_000)}
    finally:
        os.kill(child, signal.SIGKILL)
        ended(child)
    assert seen - {None} <= set(pair)
    assert len(seen - {None}) == 2


def test_a_finding_that_was_cut_short_says_nothing_until_it_is_written_again() -> None:
    findings = Findings()
    findings.write(check(1), finding(healthy=False))
    assert not findings.healthy(check(1), NOW)
    assert ended(forked(lambda: _die_within(findings))) == 0
    assert findings.read(check(1), NOW) is None
    findings.write(check(1), finding(healthy=False))
    assert not findings.healthy(check(1), NOW)


def _die_within(findings: Findings) -> bool:
    place = findings._places[check(1).key]
    findings._memory[place] |= 1
    return True

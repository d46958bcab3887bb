"""The alert rules in deploy/prometheus: promtool reads them, and each fires when it should."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from tests.programs import requires

ROOT = Path(__file__).parents[1]
RULES = ROOT / "deploy/prometheus/hopward.rules.yml"
CASES = ROOT / "tests/prometheus/hopward.test.yml"
ALERTS = {
    rule["alert"]
    for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    for rule in group["rules"]
}

needs_promtool = requires("promtool", "apt-get install prometheus")


def promtool(*arguments: str | Path) -> str:
    command = ["promtool", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_promtool_takes_the_rules() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", RULES)


@needs_promtool
def test_each_alert_fires_when_it_should_and_not_before() -> None:
    assert "SUCCESS" in promtool("test", "rules", CASES)


def test_no_alert_is_without_a_case_in_which_it_fires() -> None:
    cases = yaml.safe_load(CASES.read_text("utf-8"))["tests"]
    fired = {
        check["alertname"]
        for case in cases
        for check in case["alert_rule_test"]
        if check["exp_alerts"]
    }
    assert fired == ALERTS


def test_operators_read_what_to_do_about_each_alert() -> None:
    page = ROOT.joinpath("docs/operations.md").read_text("utf-8")
    assert set(re.findall(r"\bHopward\w+", page)) == ALERTS

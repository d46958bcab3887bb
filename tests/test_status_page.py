"""The status page: one file, and a policy that lets nothing else in."""

from __future__ import annotations

import re

from proxy.status.page import PAGE, POLICY

TEXT = PAGE.decode("utf-8")


def test_the_page_allows_its_own_style_and_script_and_nothing_else() -> None:
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules["default-src"] == "'none'"
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", rules["script-src"])
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", rules["style-src"])
    assert rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"


def test_the_page_names_nothing_from_elsewhere() -> None:
    namespaces = {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r"https?://[\w./]+", TEXT)) == namespaces
    assert (
        re.findall(r"<(?:script|link|img|iframe|style)\b[^>]*(?:src|href)=\"(?!data:)", TEXT) == []
    )


def test_no_text_ever_becomes_markup() -> None:
    assert (
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", TEXT) == []
    )


def test_no_style_or_script_stands_in_an_attribute() -> None:
    assert re.findall(r"<[^>]*\s(?:style|on\w+)=", TEXT) == []

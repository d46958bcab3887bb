"""The benchmark's pure half: figures become tables, verdicts and plots; settings become files."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.__main__ import take
from bench.harness import Figure
from bench.peers import BASELINE, LIMIT, OWN, PEERS, Pair, Peer, Place
from bench.plots import panels
from bench.report import Measured, faults, promises, ratios, spread, table
from bench.works import GROUPS, SINGLES, Promise, Single, Work

NAMES = {OWN: "hopward", BASELINE: "nginx 1.0", "caddy": "Caddy 2.0"}


def figures(*values: float, load: float = 0.5) -> list[Figure]:
    return [Figure(value, load) for value in values]


def measured(**row: list[Figure]) -> Measured:
    work = Work("announce", "µs", lambda *_: Figure(0), (Promise(1, BASELINE),))
    return Measured(work, row, {})


def test_a_ratio_compares_figures_of_the_same_round() -> None:
    row = {OWN: figures(1, 4), BASELINE: figures(2, 2)}
    assert ratios(row, OWN, BASELINE) == [0.5, 2]


def test_a_subject_that_was_left_out_has_no_ratio() -> None:
    assert ratios({OWN: figures(1)}, OWN, BASELINE) == []


def test_the_table_gives_medians_and_the_medians_of_the_rounds_ratios() -> None:
    one = measured(hopward=figures(10, 30, 50), nginx=figures(20, 30, 25), caddy=[])
    assert "| announce | µs | **30.0** (1.00) | 25.0 |" in table([one], NAMES)


def test_a_promise_that_is_kept_is_told_from_one_that_is_not() -> None:
    kept = measured(hopward=figures(9), nginx=figures(10))
    broken = measured(hopward=figures(11), nginx=figures(10))
    assert "≤ 1 × nginx 1.0 | 0.90 ✓" in promises([kept], NAMES)
    assert "≤ 1 × nginx 1.0 | 1.10 ✗" in promises([broken], NAMES)


def test_a_promise_about_a_subject_that_was_left_out_is_not_measured() -> None:
    assert "not measured" in promises([measured(hopward=figures(1))], NAMES)


def test_a_promise_may_ask_for_at_least_that_much() -> None:
    assert Promise(-1.8, "").kept(1.9, 1)
    assert not Promise(-1.8, "").kept(1.7, 1)


def test_a_load_that_was_too_busy_is_named_with_its_subject() -> None:
    busy = measured(hopward=figures(1, load=0.9), nginx=figures(1))
    assert "90% (over 85%: hopward)" in spread([busy], NAMES)


def test_the_plots_are_well_formed_and_have_a_bar_for_each_subject() -> None:
    drawn = panels([measured(hopward=figures(1), nginx=figures(2))], NAMES)
    root = ElementTree.fromstring(drawn)
    bars = root.findall(".//{*}g/{*}rect")
    assert len(bars) == 2
    assert float(bars[0].get("width", 0)) * 2 == pytest.approx(float(bars[1].get("width", 0)), 0.01)


def test_whose_work_was_wrong_is_named() -> None:
    right, wrong = measured(), measured(hopward=figures(1))
    wrong.faults["caddy"] = "caddy logged 2 of about 3 requests"
    assert faults([right]) == ""
    assert "- announce, caddy: caddy logged 2 of about 3 requests\n" in faults([right, wrong])


def test_who_was_wrong_once_has_no_figure_and_the_others_go_on() -> None:
    one = measured(hopward=figures(1), caddy=figures(2))

    def wrong() -> Figure:
        raise RuntimeError("not the answer")

    take(one, "caddy", wrong)
    take(one, "caddy", lambda: Figure(3))
    take(one, OWN, lambda: Figure(3))
    assert one.row == {OWN: [*figures(1), Figure(3)]}
    assert one.faults == {"caddy": "not the answer"}


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_each_subject_is_told_where_its_origin_is(peer: Peer, log: bool, tmp_path: Path) -> None:
    pair = Pair("localhost", tmp_path / "a.pem", tmp_path / "a.key")
    pair.certificate.touch()
    pair.key.touch()
    arguments = peer.write(Place(tmp_path, 4433, 7070, [pair], log=log))
    written = "".join(file.read_text() for file in tmp_path.iterdir() if file.is_file())
    assert "7070" in written + " ".join(arguments)


def test_each_work_has_a_name_of_its_own() -> None:
    names = [work.name for group in GROUPS for work in group.works]
    names += [single.name for single in SINGLES]
    assert len(names) == len(set(names))


def test_each_promise_is_about_a_subject_that_exists() -> None:
    works: list[Work | Single] = [*SINGLES]
    works += [work for group in GROUPS for work in group.works]
    named = {promise.than for work in works for promise in (*work.must, *work.reach)}
    assert named - {""} <= {peer.name for peer in PEERS} - {LIMIT}

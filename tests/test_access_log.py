"""One line for each exchange: what stands in it, and what must not."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import config
from proxy.access_log import AccessLog, AccessLogs, Entry
from proxy.line_output import PIECE
from proxy.log import Log
from tests.programs import wait_for

ENTRY = Entry(
    time=1_800_000_000.1234,
    request_id=b"0123456789ab000001",
    site="http1.example.com",
    client="192.0.2.1",
    method=b"GET",
    target=b"/announce?info_hash=%00%FF&port=6881",
    version=b"1.1",
    status=200,
    bytes_sent=345,
    bytes_received=12,
    seconds=0.0123456,
    upstream="http://127.0.0.1:7070",
    upstream_seconds=0.01,
    tls="TLSv1.3",
    group="X25519MLKEM768",
    resumed=True,
)


class Events:
    """A log that remembers what it was told."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        self.log = Log("debug", self._writer)

    def read(self) -> list[dict[str, Any]]:
        os.close(self._writer)
        with os.fdopen(self.reader, "rb") as reader:
            return [json.loads(line) for line in reader]


Logged = Callable[..., list[str]]


@pytest.fixture
def logged(tmp_path: Path) -> Logged:
    """The lines of these entries."""

    def lines(*entries: Entry, **settings: object) -> list[str]:
        file = tmp_path / "access.log"
        events = Events()
        log = AccessLog(config.AccessLog.model_validate({"to": file, **settings}), events.log)
        for entry in entries:
            log.write(entry)
        log.close()
        assert events.read() == []
        return file.read_bytes().decode("utf-8").splitlines()

    return lines


def test_an_exchange_is_a_line_of_json_with_its_fields_in_a_fixed_order(logged: Logged) -> None:
    [line] = logged(ENTRY)
    assert line == (
        '{"time":"2027-01-15T08:00:00.123Z","request_id":"0123456789ab000001",'
        '"site":"http1.example.com","client":"192.0.2.1","method":"GET",'
        '"target":"/announce?info_hash=%00%FF&port=6881","version":"1.1","status":200,'
        '"bytes_sent":345,"bytes_received":12,"seconds":0.012346,'
        '"upstream":"http://127.0.0.1:7070","upstream_seconds":0.010000,'
        '"tls":"TLSv1.3","group":"X25519MLKEM768","resumed":true,"error":null}'
    )


def test_what_there_was_not_is_null(logged: Logged) -> None:
    [line] = logged(
        ENTRY._replace(
            site="", method=b"", target=b"", version=b"", upstream=None, upstream_seconds=None,
            tls="", group="", resumed=False, error="client_left",
        )
    )  # fmt: skip
    read = json.loads(line)
    absent = {name for name, value in read.items() if value is None}
    assert absent == {
        "site", "method", "target", "version", "upstream", "upstream_seconds", "tls", "group"
    }  # fmt: skip
    assert (read["resumed"], read["error"]) == (False, "client_left")


def test_as_text_a_line_begins_as_the_common_log_format_has_it(logged: Logged) -> None:
    [line] = logged(ENTRY, format="text")
    assert line == (
        "192.0.2.1 - - [15/Jan/2027:08:00:00 +0000]"
        ' "GET /announce?info_hash=%00%FF&port=6881 HTTP/1.1" 200 345'
        " site=http1.example.com received=12 seconds=0.012346"
        " upstream=http://127.0.0.1:7070 upstream_seconds=0.010000"
        " tls=TLSv1.3 group=X25519MLKEM768 resumed=yes id=0123456789ab000001 error=-"
    )


def test_as_text_what_there_was_not_is_a_hyphen(logged: Logged) -> None:
    entry = ENTRY._replace(
        site="", method=b"", target=b"", upstream=None, upstream_seconds=None, tls="", group=""
    )
    [line] = logged(entry, format="text")
    assert ' "-" 200 345 site=- ' in line
    assert " upstream=- upstream_seconds=- tls=- group=- " in line


COMMON = re.compile(r'^\S+ \S+ \S+ \[[^]]+\] "(?:[^"\\]|\\.)*" \d{3} \d+ [ -~]*$')


@given(target=st.binary(min_size=1, max_size=40))
def test_whatever_bytes_a_target_has_a_line_of_text_can_be_read(
    target: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert COMMON.match(_line(ENTRY._replace(target=target), tmp_path_factory, "text"))


@given(target=st.binary(min_size=1, max_size=40))
def test_whatever_bytes_a_target_has_a_line_of_json_can_be_read(
    target: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    line = _line(ENTRY._replace(target=target), tmp_path_factory, "json")
    assert json.loads(line)["target"] == target.decode("ascii", "backslashreplace")


def _line(entry: Entry, folders: pytest.TempPathFactory, kind: str) -> str:
    file = folders.mktemp("log") / "access.log"
    settings = config.AccessLog.model_validate({"to": file, "format": kind, "redact": []})
    log = AccessLog(settings, Log("error"))
    log.write(entry)
    log.close()
    [line] = file.read_text("ascii").splitlines()
    return line


@pytest.mark.parametrize("kind", ["json", "text"])
def test_secrets_are_masked(logged: Logged, kind: str) -> None:
    [line] = logged(ENTRY._replace(target=b"/stats?token=s3cret&a=1"), format=kind)
    assert "/stats?token=***&a=1" in line
    assert "s3cret" not in line


@pytest.mark.parametrize("kind", ["json", "text"])
@pytest.mark.parametrize("filling", [b"x", b'"', b"\xff"])
def test_a_line_is_never_longer_than_a_pipe_takes_as_a_whole(
    logged: Logged, kind: str, filling: bytes
) -> None:
    entry = ENTRY._replace(target=b"/" + filling * 30_000, method=b"M" * 1000)
    [line] = logged(entry, format=kind)
    assert PIECE - 100 < len(line) + 1 <= PIECE
    assert re.search(r"\.\.\.\(\+\d+ bytes\)", line)
    assert "0123456789ab000001" in line


def test_what_is_left_of_a_long_target_is_still_json(logged: Logged) -> None:
    [line] = logged(ENTRY._replace(target=b"/" + b'"' * 30_000))
    kept, cut = re.fullmatch(r'/("*)\.\.\.\(\+(\d+) bytes\)', json.loads(line)["target"]).groups()  # type: ignore[union-attr]
    assert len(kept) + int(cut) == 30_000


def test_the_time_is_that_of_each_entry(logged: Logged) -> None:
    times = [1_800_000_000.0, 1_800_000_000.9996, 1_800_000_001.0, 1_799_999_999.5]
    lines = logged(*(ENTRY._replace(time=each) for each in times))
    read = [datetime.fromisoformat(json.loads(line)["time"]) for line in lines]
    assert read == [
        datetime.fromtimestamp(int(each * 1000) / 1000, UTC).replace(
            microsecond=int(each * 1000) % 1000 * 1000
        )
        for each in times
    ]


def test_the_months_are_english_whatever_the_environment_speaks(logged: Logged) -> None:
    starts = [datetime(2027, month, 1, tzinfo=UTC).timestamp() for month in range(1, 13)]
    lines = logged(*(ENTRY._replace(time=each) for each in starts), format="text")
    months = [re.search(r"\[01/(\w+)/2027:", line)[1] for line in lines]  # type: ignore[index]
    assert months == re.findall("...", "JanFebMarAprMayJunJulAugSepOctNovDec")


def test_what_has_gathered_is_written_at_the_next_tick(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    log = AccessLog(config.AccessLog.model_validate({"to": file}), Log("error"))
    log.write(ENTRY)
    log.flush()
    wait_for(lambda: file.exists() and file.stat().st_size)
    log.close()


def test_much_is_written_without_waiting_for_the_tick(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    log = AccessLog(config.AccessLog.model_validate({"to": file}), Log("error"))
    for _ in range(300):
        log.write(ENTRY)
    wait_for(lambda: file.exists() and file.stat().st_size)
    log.close()


def _has_lost(log: AccessLog, lines: int) -> bool:
    return log.lost == lines


def test_lines_that_are_lost_are_told_of_once_and_so_is_their_end(tmp_path: Path) -> None:
    events = Events()
    folder = tmp_path / "logs"
    to = folder / "access.log"
    log = AccessLog(config.AccessLog.model_validate({"to": to}), events.log)
    for lost in (1, 2, 3):
        log.write(ENTRY)
        log.flush()
        wait_for(partial(_has_lost, log, lost))
    log.flush()
    folder.mkdir()
    written = time.monotonic()
    while not to.exists():  # looked for once a second
        assert time.monotonic() < written + 30
        log.write(ENTRY)
        log.flush()
    log.close()
    failed, recovered = events.read()
    assert {
        "event": "access-log-failed",
        "to": str(to),
        "error": "No such file or directory",
    }.items() <= failed.items()
    assert recovered["event"] == "access-log-recovered"
    assert recovered["lost"] == log.lost


def test_lines_that_a_former_log_lost_stay_counted(tmp_path: Path) -> None:
    events = Events()
    logs = AccessLogs(events.log)
    former = logs.follow(config.AccessLog(to=tmp_path / "nowhere" / "file"))
    assert former is not None
    former.write(ENTRY)
    former.flush()
    wait_for(lambda: former.lost == 1, what="a line that is lost")
    fresh = logs.follow(config.AccessLog(to=tmp_path / "file"))
    assert fresh is not None
    assert fresh.lost == 1
    logs.close()
    assert [event["event"] for event in events.read()] == ["access-log-failed"]


def test_a_log_whose_settings_stay_goes_on(tmp_path: Path) -> None:
    events = Events()
    logs = AccessLogs(events.log)
    settings = config.AccessLog(to=tmp_path / "file")
    assert logs.follow(settings) is logs.follow(config.AccessLog(to=tmp_path / "file"))
    assert logs.follow(None) is None
    logs.close()
    assert events.read() == []

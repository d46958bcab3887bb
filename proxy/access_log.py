"""The access log: one line for each exchange.

Law: it costs an exchange next to nothing and can harm none. What is to be said is put into a list,
many lines are put together at once, and another thread writes them. No field of a message's head is
ever logged, and of a target only what `redact` leaves.
"""

import time
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from pathlib import Path
from typing import NamedTuple

from . import config
from .line_output import PIECE, LineOutput
from .log import Log
from .redaction import Redaction

_STANDARD = {"stdout": 1, "stderr": 2}
# What gathers before it is handed on, if the clock does not tick before.
_BATCH = 64 * 1024
# Of that, what a line has beside its target.
_LINE = 320
# What of a method is worth logging; no registered one is longer than 17.
_METHOD = 32
# How long the end of a worker waits for a log that nobody reads.
_PATIENCE = 2.0
# What lines have in common, some 600 bytes each. No client chooses how long one is.
_REMEMBERED = 4096


class Entry(NamedTuple):
    """What one exchange was, when it had ended.

    time               its end, as seconds since 1970
    request_id         as the upstream and an error's text name it
    site               the site's name in the configuration, "" where there was none
    client             the client's address, as X-Forwarded-For has it
    method, target     as they came, b"" where no head could be read
    version            HTTP's, such as b"1.1", b"" where no head could be read
    status             of the final answer, 499 where the client left before there was one
    bytes_sent         to the client: heads and bodies as HTTP has them, before TLS
    bytes_received     of the request's body
    seconds            from the first byte of the head, or of its turn, to the end
    upstream           the origin as in `to:`, None where none was asked
    upstream_seconds   until the upstream's final head was there, None where it never was
    tls, group         such as "TLSv1.3" and "X25519MLKEM768", "" without TLS
    resumed            whether the TLS session was
    error              why there was no whole answer of the upstream's, as a label, else None
    """

    time: float
    request_id: bytes
    site: str
    client: str
    method: bytes
    target: bytes
    version: bytes
    status: int
    bytes_sent: int
    bytes_received: int
    seconds: float
    upstream: str | None
    upstream_seconds: float | None
    tls: str
    group: str
    resumed: bool
    error: str | None = None


class Common(NamedTuple):
    """What entries of one connection have in common; see `Entry` for each."""

    site: str
    client: str
    method: bytes
    version: bytes
    status: int
    upstream: str | None
    tls: str
    group: str
    resumed: bool
    error: str | None = None


class Own(NamedTuple):
    """What each entry has for itself; see `Entry`."""

    time: float
    request_id: bytes
    target: bytes
    bytes_sent: int
    bytes_received: int
    seconds: float
    upstream_seconds: float | None


class AccessLog:
    """Writes entries as `settings` want them, and tells `log` of lines that are lost.

    `lost`: how many its predecessor had lost.
    """

    def __init__(self, settings: config.AccessLog, log: Log, lost: int = 0) -> None:
        self.settings = settings
        self._to = settings.to
        self._lost = lost
        self._format = _FORMATS[settings.format]
        self._redaction = Redaction(settings.redact)
        self._log = log
        self._output = LineOutput(_STANDARD.get(str(settings.to)) or Path(settings.to))
        self._waiting: list[tuple[Common, Own]] = []
        self._size = 0
        self._second = -1
        self._stamps = ("", "")
        self._failing = False
        self._seen = (0, 0)

    @property
    def lost(self) -> int:
        """How many lines were never written."""
        return self._lost + self._output.lost

    def write(self, entry: Entry) -> None:
        """Log one exchange."""
        (
            at, request_id, site, client, method, target, version, status, sent, received,
            seconds, upstream, upstream_seconds, tls, group, resumed, error,
        ) = entry  # fmt: skip
        self.add(
            Common(site, client, method, version, status, upstream, tls, group, resumed, error),
            Own(at, request_id, target, sent, received, seconds, upstream_seconds),
        )

    def add(self, common: Common, own: Own) -> None:
        """Log one exchange; of a `common` that has been there before the words are kept."""
        self._waiting.append((common, own))
        self._size += _LINE + len(own.target)
        if self._size >= _BATCH:
            self._hand_on()

    def _line(self, common: Common, own: Own, target: bytes) -> str:
        second = int(own.time)
        if second != self._second:
            self._second, self._stamps = second, _stamps(second)
        line = self._format(common, own, self._stamps, target)
        return line if len(line) <= PIECE else self._shortened(common, own, target)

    def flush(self) -> None:
        """Hand on what has gathered, and say it when lines are lost; called at each tick."""
        if self._waiting:
            self._hand_on()
        self._watch()

    def reopen(self) -> None:
        """Write what is logged from now on to a file newly opened by its path."""
        if self._waiting:
            self._hand_on()
        self._output.reopen()

    def end(self) -> None:
        """Take no more entries; what there is will be written meanwhile."""
        self.flush()
        self._output.close(0)

    def close(self) -> None:
        """Return when everything is written, or when it is plain that nobody reads it."""
        self.flush()
        unwritten = self._output.close(_PATIENCE)
        self._watch()
        if unwritten:
            self._log.warning("access-log-lost", to=str(self._to), lines=unwritten)

    def _hand_on(self) -> None:
        """Put together what has gathered: so secrets are looked for once for 200 lines."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        targets = self._redaction.all_masked([own.target for _, own in waiting])
        lines = [
            self._line(common, own, target)
            for (common, own), target in zip(waiting, targets, strict=True)
        ]
        self._output.put("".join(lines).encode("ascii"))

    def _shortened(self, common: Common, own: Own, target: bytes) -> str:
        """The line with as much of the target as leaves room for the rest."""
        common = common._replace(method=common.method[:_METHOD])

        def line(keep: int) -> str:
            cut = target[:keep] + b"...(+%d bytes)" % (len(target) - keep)
            return self._format(common, own, self._stamps, cut)

        room = range(1, min(len(target), PIECE))
        return line(bisect_right(room, PIECE, key=lambda keep: len(line(keep))))

    def _watch(self) -> None:
        """Say once that lines are lost, and once that they are not any more."""
        output = self._output
        seen, self._seen = self._seen, (output.lost, output.written)
        if output.lost > seen[0] and not self._failing:
            self._failing, self._lost_before = True, seen[0]
            reason = output.error or "nobody reads it, or too slowly"
            self._log.error("access-log-failed", to=str(self._to), error=reason)
        elif self._failing and output.lost == seen[0] and output.written > seen[1]:
            self._failing = False
            lost = output.lost - self._lost_before
            self._log.warning("access-log-recovered", to=str(self._to), lost=lost)


class AccessLogs:
    """The access logs of one process, one after the other as configurations want them."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._all: list[AccessLog] = []
        self._now: AccessLog | None = None

    def follow(self, settings: config.AccessLog | None) -> AccessLog | None:
        """The log for whatever ends from now on; None where none is wanted."""
        former = self._now
        if settings != (former and former.settings):
            self._now = None
            if settings is not None:
                self._now = AccessLog(settings, self._log, former.lost if former else 0)
                self._all.append(self._now)
            if former is not None:
                former.end()
        return self._now

    def reopen(self) -> None:
        """See `AccessLog.reopen`."""
        if self._now is not None:
            self._now.reopen()

    def close(self) -> None:
        """See `AccessLog.close`."""
        for each in self._all:
            each.close()


def _stamps(second: int) -> tuple[str, str]:
    """A second as ISO 8601 without a zone, and as the common log format has it; UTC."""
    parts = time.gmtime(second)
    # Not strftime's %b, which speaks the language of the environment.
    month = "JanFebMarAprMayJunJulAugSepOctNovDec"[parts.tm_mon * 3 - 3 : parts.tm_mon * 3]
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", parts),
        time.strftime(f"%d/{month}/%Y:%H:%M:%S +0000", parts),
    )


def _json(common: Common, own: Own, stamps: tuple[str, str], target: bytes) -> str:
    at, request_id, _, sent, received, seconds, waited = own
    short = len(common.method) <= _METHOD
    before, between, upstream, end = (_parts if short else _parts.__wrapped__)(common)
    return (
        f'{{"time":"{stamps[0]}{_MILLISECONDS[int(at * 1000) % 1000]}{request_id.decode("ascii")}'
        f"{before}{_quoted(target.decode('ascii', 'backslashreplace')) if target else 'null'}"
        f'{between}{sent},"bytes_received":{received},"seconds":{seconds:.6f}'
        f"{upstream}{'null' if waited is None else f'{waited:.6f}'}{end}"
    )


_MILLISECONDS = [f'.{number:03d}Z","request_id":"' for number in range(1000)]


# `python -m bench.access_log`: 2 µs with it, 4.5 without.
@lru_cache(_REMEMBERED)
def _parts(common: Common) -> tuple[str, str, str, str]:
    """What stands around the target, the sizes and the times, and after them."""
    site, client, method, version, status, upstream, tls, group, resumed, error = common
    true = "true" if resumed else "false"
    return (
        f'","site":{_or_null(site)},"client":"{client}"'
        f',"method":{_or_null(method.decode("ascii"))},"target":',
        f',"version":{_or_null(version.decode("ascii"))},"status":{status},"bytes_sent":',
        f',"upstream":{_or_null(upstream)},"upstream_seconds":',
        f',"tls":{_or_null(tls)},"group":{_or_null(group)},"resumed":{true}'
        f',"error":{_or_null(error)}}}\n',
    )


def _or_null(text: str | None) -> str:
    return _quoted(text) if text else "null"


def _text(common: Common, own: Own, stamps: tuple[str, str], target: bytes) -> str:
    """The common log format, and then what else there is by name."""
    client, version, waited = common.client, common.version, own.upstream_seconds
    asked = b"%b %b HTTP/%b" % (common.method, target, version) if common.method else b"-"
    return (
        f"{client} - - [{stamps[1]}] {_quoted(asked.decode('ascii', 'backslashreplace'))}"
        f" {common.status} {own.bytes_sent} site={common.site or '-'}"
        f" received={own.bytes_received} seconds={own.seconds:.6f}"
        f" upstream={_quoted(common.upstream or '-')[1:-1]}"
        f" upstream_seconds={'-' if waited is None else f'{waited:.6f}'}"
        f" tls={common.tls or '-'} group={common.group or '-'}"
        f" resumed={'yes' if common.resumed else 'no'}"
        f" id={own.request_id.decode('ascii')} error={common.error or '-'}\n"
    )


_Format = Callable[[Common, Own, tuple[str, str], bytes], str]
_FORMATS: dict[str, _Format] = {"json": _json, "text": _text}

"""`python -m bench.access_log`: CPU time of one entry of the access log, from fields to line.

The thread that writes is not counted: it writes a batch at once and mostly waits for the kernel.
"""

import tempfile
import time
from functools import partial
from pathlib import Path

from bench.timing import Task, show
from proxy import config
from proxy.access_log import AccessLog, Entry
from proxy.log import Log

TARGETS = {
    "/": b"/",
    "announce": b"/announce?info_hash=%00%FF%AA%12%9A%BC%DE%F0%11%22%33%B4%55%E6%77%88%99%AA%BB"
    b"&peer_id=-qB4600-abcdefghijkl&port=6881&uploaded=0&downloaded=0&left=0&compact=1&numwant=200",
    "with a secret": b"/api/v1/stats?token=MyAccessToken",
}


def _measure(kind: str, target: bytes, entries: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        settings = {"format": kind, "to": Path(folder) / "access.log"}
        log = AccessLog(config.AccessLog.model_validate(settings), Log("error"))
        try:
            return _write(log, target, entries)
        finally:
            log.close()


def _write(log: AccessLog, target: bytes, entries: int) -> float:
    began, now = time.thread_time(), time.time()
    for _ in range(entries):
        log.write(
            Entry(
                now, b"0123456789ab000001", "http1.example.com", "192.0.2.77", b"GET", target,
                b"1.1", 200, 345, 0, 0.001234, "http://127.0.0.1:7070", 0.0011,
                "TLSv1.3", "X25519MLKEM768", False,
            )
        )  # fmt: skip
    return (time.thread_time() - began) / entries


TASKS: dict[str, Task] = {
    f"an entry of the access log: {kind}, {name}": partial(_measure, kind, target)
    for kind in ("json", "text")
    for name, target in TARGETS.items()
}

if __name__ == "__main__":
    show(TASKS)

"""A process that stands in for a running proxy: what `hopward reload` meets, without its sockets.

    python -m tests.standing_in STORE FILE [--local] [--answers RESULT[:WORDS] ...]

It begins, says `ready`, and answers each SIGHUP by the next of its answers: `success`,
`failure:why`, `silence` (no answer), `former` (a reload that was under way before ends well, and
nothing follows), `end` (it ends itself). It ends when its standard input does.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from proxy.running import Running


def main() -> None:
    """Stand in until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--local", action="store_true")
    parser.add_argument("--answers", nargs="*", default=[])
    options = parser.parse_args()
    answers = iter(options.answers)

    def answer(_number: int, _frame: FrameType | None) -> None:
        match next(answers).split(":", 1):
            case ["success"]:
                running.reloading()
                running.reloaded("success")
            case ["failure", words]:
                running.reloading()
                running.reloaded("failure", words)
            case ["former"]:
                running.reloaded("success")
            case ["end"]:
                sys.exit()

    signal.signal(signal.SIGHUP, answer)
    running = Running.begin(options.store, options.file, local=options.local)
    if "former" in options.answers:
        running.reloading()
    print("ready", flush=True)
    sys.stdin.read()
    running.end()


if __name__ == "__main__":
    main()

"""`python -m bench.micro`: what one step of the hot rooms costs, in one table.

With `--instructions` it also counts instructions, which no other load on the machine changes: by
`valgrind --tool=callgrind`, as the difference between many units and twice as many. Those are the
whole interpreter's, so they compare two ways of doing the same and two commits, not two programs.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import access_log, bulk, exchange, handshake, openssl
from bench.timing import Task, least

TASKS: dict[str, Task] = {
    **exchange.TASKS,
    **openssl.TASKS,
    **handshake.TASKS,
    **bulk.TASKS,
    **access_log.TASKS,
}
COUNTED = 300  # units: valgrind is some fifty times slower


def main() -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro", description=__doc__)
    parser.add_argument("--instructions", action="store_true", help="count them too (minutes)")
    parser.add_argument("--once", nargs=2, metavar=("TASK", "UNITS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        _once(options.once[0], int(options.once[1]))
        return 0
    if options.instructions and shutil.which("valgrind") is None:
        print("valgrind is missing: apt-get install valgrind", file=sys.stderr)
        return 1
    print("| step | CPU µs |" + (" instructions |" if options.instructions else ""))
    print("|---|---|" + ("---|" if options.instructions else ""))
    for name, task in TASKS.items():
        counted = f" {instructions(name):,.0f} |" if options.instructions else ""
        print(f"| {name} | {least(task) * 1e6:.2f} |{counted}", flush=True)
    return 0


def instructions(name: str) -> float:
    """Instructions in user space of one unit of a task."""
    return (_counted(name, 2 * COUNTED) - _counted(name, COUNTED)) / COUNTED


def _once(name: str, units: int) -> None:
    """Below callgrind: what it takes to start is not counted, which would be most of it."""
    task = TASKS[name]
    task(10)
    subprocess.run(["callgrind_control", "-i", "on", str(os.getpid())], check=True)
    task(units)


def _counted(name: str, units: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind"
        tool = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]
        tool.append(f"--callgrind-out-file={out}")
        once = [sys.executable, "-m", "bench.micro", "--once", name, str(units)]
        ran = subprocess.run([*tool, *once], capture_output=True, text=True, check=True)
    found = re.search(r"Collected : (\d+)", ran.stderr)
    if found is None:
        raise RuntimeError(f"valgrind counted nothing:\n{ran.stderr[-1000:]}")
    return int(found[1])


if __name__ == "__main__":
    sys.exit(main())

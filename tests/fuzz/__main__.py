"""`python -m tests.fuzz TARGET SECONDS [FOLDER]`: atheris looks for octets that break a law.

What it finds worth keeping goes to FOLDER, where one is named; an input that breaks the law is
written to `crash-…` there, and the exit code is not 0.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["proxy", "h11", "yaml"], enable_loader_override=False):
    from tests.fuzz.targets import CORPUS, TARGETS


def main(name: str, seconds: str, folder: str = "") -> None:
    target = TARGETS[name]
    found = [folder] if folder else []
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={target.longest}",
        "-timeout=10",
        "-rss_limit_mb=1500",
        f"-artifact_prefix={Path(folder or '.')}/",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, *found, str(CORPUS / name)], target.test)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""TXT records for dns-01, set by a program of the operator's.

Law: the program is called `HOOK present NAME VALUE` and afterwards `HOOK cleanup NAME VALUE`; it
returns 0 when the record is visible to the world, so that propagation is its own business.

NAME is `_acme-challenge.` and the host (RFC 8555 §8.4), VALUE the record's text. A wildcard and
its parent may have a record each under one NAME at the same time: the program must not replace one
by the other.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence

from .errors import NotTried
from .patience import Patience

# DNS providers take minutes, rarely more.
LONGEST = 600.0


def record_name(name: str) -> str:
    """Where the record of a host or wildcard is looked for."""
    return f"_acme-challenge.{name.removeprefix('*.')}"


def run_hook(
    hook: Sequence[str],
    action: str,
    name: str,
    value: str,
    patience: Patience,
    longest: float = LONGEST,
) -> None:
    """Run the program; raises Stopped, and NotTried with its last words or why it cannot be run."""
    with tempfile.TemporaryFile() as output:
        try:
            program = subprocess.Popen(
                [*hook, action, record_name(name), value],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise NotTried(f"the dns hook {hook[0]} cannot be run: {error.strerror}") from error
        try:
            _await_end(program, patience, longest)
        finally:
            if program.poll() is None:
                program.kill()
                program.wait()
        if program.returncode:
            output.seek(0)
            words = output.read()[-300:].decode("utf-8", "replace").strip()
            raise NotTried(f"the dns hook ended with {program.returncode}: {words or 'no words'}")


def _await_end(program: subprocess.Popen[bytes], patience: Patience, longest: float) -> None:
    for _ in patience.looks(longest):
        if program.poll() is not None:
            return
    raise NotTried(f"the dns hook did not end within {longest:g} s")

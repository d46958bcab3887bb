"""Memory with a descriptor: processes share it by inheritance, and it passes through an exec."""

import os
import tempfile
from collections.abc import Callable

from .errors import OURS


def memory_file(name: str) -> int:
    """The descriptor of a new, empty file that has no place in any folder. Raises OSError."""
    make: Callable[[str], int] | None = getattr(os, "memfd_create", None)
    if make is not None:
        try:
            return make(name)
        except OSError as error:
            # A sandbox may forbid it, an old kernel not know it; no other kind of file is a remedy
            # for a lack.
            if error.errno in OURS:
                raise
    # macOS has no memfd.
    with tempfile.TemporaryFile(prefix=name) as file:
        return os.dup(file.fileno())

"""Memory with a descriptor: processes share it by inheritance, and it passes through an exec."""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress


def memory_file(name: str) -> int:
    """The descriptor of a new, empty file that has no place in any folder."""
    make: Callable[[str], int] | None = getattr(os, "memfd_create", None)
    if make is not None:
        # A sandbox may forbid it, an old kernel not know it.
        with suppress(OSError):
            return make(name)
    # macOS has no memfd.
    with tempfile.TemporaryFile(prefix=name) as file:
        return os.dup(file.fileno())

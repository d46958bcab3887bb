"""Memory with a descriptor: processes share it by inheritance, and it passes through an exec."""

import os
import tempfile
from collections.abc import Callable


def memory_file(name: str) -> int:
    """The descriptor of a new, empty file that has no place in any folder."""
    make: Callable[[str], int] | None = getattr(os, "memfd_create", None)
    if make is not None:
        return make(name)
    # macOS has no memfd.
    with tempfile.TemporaryFile(prefix=name) as file:
        return os.dup(file.fileno())

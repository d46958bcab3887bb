"""Memory with a descriptor, also where memfd_create(2) is not to be had."""

from __future__ import annotations

import errno
import os

import pytest

from proxy.memory_file import memory_file


def test_where_the_kernel_or_a_sandbox_has_no_memfd_a_nameless_file_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_name: str) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refused, raising=False)
    descriptor = memory_file("hopward-test")
    try:
        os.pwrite(descriptor, b"kept", 0)
        assert os.pread(descriptor, 10, 0) == b"kept"
        assert os.fstat(descriptor).st_nlink == 0
    finally:
        os.close(descriptor)


def test_where_there_is_no_room_for_one_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_name: str) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", refused, raising=False)
    with pytest.raises(OSError, match="Too many open files"):
        memory_file("hopward-test")

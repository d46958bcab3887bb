"""Several files put in place together: all of them, or none."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from proxy import installation
from tests.machines import Machine


def failing_at(call: int) -> Callable[[Path, Path], Path]:
    """`Path.replace`, which fails at one call."""
    real, calls = Path.replace, count(1)

    def replace(source: Path, target: Path) -> Path:
        if next(calls) == call:
            raise OSError(28, "No space left on device", str(target))
        return real(source, target)

    return replace


@pytest.mark.parametrize("there", [False, True])
def test_a_rename_that_fails_undoes_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, there: bool
) -> None:
    files = [
        installation.File(tmp_path / "new" / "a.key", b"1", by_way_of=tmp_path / "new/a.key.new"),
        installation.File(tmp_path / "new" / "a.pem", b"2", by_way_of=tmp_path / "new/a.pem.new"),
        installation.File(tmp_path / "b", b"3"),
    ]
    if there:
        (tmp_path / "new").mkdir()
        for file in files:
            file.path.write_bytes(b"old")
    before = Machine(tmp_path).tree()
    for at in range(1, 6):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", failing_at(at))
            with pytest.raises(OSError, match="No space left"):
                installation.install(files)
        assert Machine(tmp_path).tree() == before
    installation.install(files)
    assert [file.path.read_bytes() for file in files] == [b"1", b"2", b"3"]

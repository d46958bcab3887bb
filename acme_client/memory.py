"""The state of one host while it is worked on: in memory first, on the disk as well as may be.

Law: what was learned is never forgotten because it could not be written down. On a full disk or a
read-only store the waits of `renewal` hold all the same, for as long as the process lives.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import Any

from .errors import StoreError
from .state import State
from .store import Store


class Memory:
    """A host's state and the file it is kept in."""

    def __init__(self, store: Store, host: str) -> None:
        self._store = store
        self.host = host
        self.state = store.state(host)

    def update(self, **changes: Any) -> None:
        """Change fields of the state; raises StoreError when that cannot be written down."""
        self.put(dataclasses.replace(self.state, **changes))

    def put(self, state: State) -> None:
        """Replace the state; raises StoreError when that cannot be written down."""
        if state != self.state:
            self.state = state
            self._store.save_state(self.host, state)

    def note(self, state: State) -> None:
        """Replace the state; where it cannot be written down, this process' memory has to do."""
        with suppress(StoreError):
            self.put(state)

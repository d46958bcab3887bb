"""Headless Chromium that trusts the given roots and finds every host on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, WebSocket, sync_playwright

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
OFFLINE = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


def trust(home: Path, roots: Sequence[Path]) -> None:
    """Make `home` the home of a user whose browsers trust `roots`, by an NSS database."""
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    certutil = ["certutil", "-d", f"sql:{database}"]
    subprocess.run([*certutil, "-N", "--empty-password"], check=True)
    for at, root in enumerate(roots):
        name = ["-n", f"root {at}", "-t", "C,,", "-i", str(root)]
        subprocess.run([*certutil, "-A", *name], check=True)


@contextmanager
def chromium(home: Path, roots: Sequence[Path], resolve: str) -> Iterator[Browser]:
    """A browser with a home of its own; `resolve` are Chromium's own host resolver rules."""
    trust(home, roots)
    executable = shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=[*QUIET, *OFFLINE, f"--host-resolver-rules={resolve}"],
            env={**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home / ".local" / "share")},
        )
        try:
            yield browser
        finally:
            browser.close()


class Sockets:
    """Every WebSocket that a page opens: how many, how many frames, how many are over."""

    def __init__(self, page: Page) -> None:
        self.opened = self.frames = self.over = 0
        self.complaints: list[str] = []
        page.on("websocket", self._opened)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self.complaints.append(request.url))

    def _opened(self, socket: WebSocket) -> None:
        self.opened += 1
        socket.on("framereceived", lambda _: self._count("frames"))
        socket.on("close", lambda _: self._count("over"))
        socket.on("socketerror", lambda error: self.complaints.append(error))

    def _count(self, what: str) -> None:
        setattr(self, what, getattr(self, what) + 1)

"""A Jupyter Server as a program: it checks Origin, Host and token, as Grafana does."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.programs import Program, accepts, free_port

HOST = "jupyter.example.com"
TOKEN = "a-token-of-the-tests"


class Jupyter(Program):
    """Answers to HOST alone, with its files and its state in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        settings = {
            "ip": "127.0.0.1",
            "port": self.port,
            "port_retries": 0,
            "root_dir": folder,
            "open_browser": False,
            "allow_root": True,
            "local_hostnames": HOST,
        }
        arguments = [f"--ServerApp.{key}={value}" for key, value in settings.items()]
        arguments.append(f"--IdentityProvider.token={TOKEN}")
        state = {"HOME": str(folder), "JUPYTER_RUNTIME_DIR": str(folder / "runtime")}
        super().__init__(
            "jupyter",
            [sys.executable, "-m", "jupyter", "server", *arguments],
            folder,
            environ={**state, "IPYTHONDIR": str(folder / "ipython"), "SHELL": "/bin/sh"},
            until=lambda: accepts(self.port),
        )

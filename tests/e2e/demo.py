"""What `make run` starts, as a program: the proxy in local mode with demo backends behind it."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from tests.programs import Program, free_port


class Demo(Program):
    """Demo backends for `sites`, each reached by its first label below .localhost.

    `port` is that of https, `root` the certificate of the local authority.
    """

    def __init__(self, folder: Path, *sites: str) -> None:
        self.port, store = free_port(), folder / "store"
        config = {
            "listen": {"https": f"127.0.0.1:{self.port}", "http": "127.0.0.1:0"},
            "store": str(store),
            "sites": {site: f"http://127.0.0.1:{free_port()}" for site in sites},
        }
        file = folder / "hopward.yml"
        file.write_text(yaml.safe_dump(config, sort_keys=False))
        self.root = store / "local-ca" / "root.pem"
        command = [sys.executable, "-m", "proxy.demo", "-c", str(file)]
        checkout = {"PYTHONPATH": str(Path(__file__).parents[2])}
        ready = r'"event": "ready"'
        super().__init__("demo", command, folder, environ=checkout, until=lambda: self.says(ready))

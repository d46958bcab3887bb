"""An origin's name may lead elsewhere tomorrow, and nowhere yet: nothing is started again for it.

The proxy runs with an /etc/hosts of its own, which takes a mount namespace (Linux).
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.e2e.wire.client import HOST, Client
from tests.http_client import get
from tests.programs import Hopward, free_port, wait_for
from tests.scripted_origin import OK, ScriptedOrigin
from tests.tls_client import TLSClient

NAME = "origin.test"
OWN_MOUNTS = ["unshare", "--map-root-user", "--mount"]
# How long a name may be remembered by us; Docker's own resolver answers for 600 s, and is asked.
REMEMBERED = 30.0


def has_namespaces() -> bool:
    try:
        return not subprocess.run(
            [*OWN_MOUNTS, "true"], capture_output=True, check=False
        ).returncode
    except OSError:
        return False


pytestmark = pytest.mark.skipif(
    not has_namespaces() and "CI" not in os.environ,
    reason="needs a mount namespace: sysctl -w kernel.unprivileged_userns_clone=1",
)


class Names:
    """The /etc/hosts that the proxy sees."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lead()

    def lead(self, *addresses: str) -> None:
        """`NAME` leads to these from now on."""
        # written in place: the mount would not see another file of the same name
        self.file.write_text("".join(f"{address} {NAME}\n" for address in addresses))


@pytest.fixture
def names(tmp_path: Path) -> Names:
    return Names(tmp_path / "hosts")


@pytest.fixture
def pair() -> Iterator[tuple[ScriptedOrigin, ScriptedOrigin]]:
    """Origins at the same port of two addresses."""
    port = free_port()
    with (
        ScriptedOrigin(address=("127.0.0.1", port)) as first,
        ScriptedOrigin(address=("127.0.0.2", port)) as second,
    ):
        yield first, second


@pytest.fixture
def dial(
    names: Names,
    pair: tuple[ScriptedOrigin, ScriptedOrigin],
    configured: Callable[..., dict[str, object]],
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[], Client]]:
    config = configured({HOST: f"http://{NAME}:{pair[0].port}"}, store=str(tmp_path / "store"))
    monkeypatch.setattr(sys, "executable", str(_python_that_sees(names, tmp_path)))
    with Hopward(tmp_path, config) as proxy, ExitStack() as connections:

        def connect() -> Client:
            wire = TLSClient(proxy.https, HOST, cafile=authority.pem)
            return Client(connections.enter_context(wire))

        yield connect


def _python_that_sees(names: Names, folder: Path) -> Path:
    """This interpreter, in a mount namespace in which /etc/hosts is ours."""
    inside = f'mount --bind {shlex.quote(str(names.file))} /etc/hosts && exec "$@"'
    script = folder / "python"
    start = [*OWN_MOUNTS, "sh", "-c", inside, "sh", sys.executable]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(start)} "$@"\n')
    script.chmod(0o755)
    return script


def status(client: Client, origin: ScriptedOrigin) -> int:
    """The status of one request that `origin` answers if it hears of it, on a fresh connection."""
    client.send(get(b"/", HOST))
    wait_for(lambda: origin.called or readable(client), what="a call or an answer")
    if origin.called:
        call = origin.accept()
        call.head()
        call.send(OK)
        code = client.message().status
        call.hang_up()
        return code
    return client.message().status


def readable(client: Client) -> bool:
    """Whether an answer has come; what TLS says for itself is none."""
    client.wire.socket.setblocking(False)
    try:
        client.ahead += client.receive()
    except TimeoutError:
        return False
    finally:
        client.wire.socket.setblocking(True)
    return bool(client.ahead)


def test_a_name_that_leads_nowhere_yet_is_502_until_it_does(
    dial: Callable[[], Client], names: Names, pair: tuple[ScriptedOrigin, ScriptedOrigin]
) -> None:
    client = dial()
    assert status(client, pair[0]) == 502
    names.lead("127.0.0.1")
    wait_for(lambda: status(client, pair[0]) == 200, REMEMBERED, "an answer")


def test_a_name_that_leads_elsewhere_is_followed(
    dial: Callable[[], Client], names: Names, pair: tuple[ScriptedOrigin, ScriptedOrigin]
) -> None:
    old, new = pair
    client = dial()
    names.lead("127.0.0.1")
    wait_for(lambda: status(client, old) == 200, REMEMBERED, "an answer")
    old.close()
    names.lead("127.0.0.2")
    wait_for(lambda: status(client, new) == 200, REMEMBERED, "an answer of the new address")


def test_the_next_address_of_a_name_is_tried_where_one_refuses(
    dial: Callable[[], Client], names: Names, pair: tuple[ScriptedOrigin, ScriptedOrigin]
) -> None:
    pair[0].close()
    names.lead("127.0.0.1", "127.0.0.2")
    client = dial()
    for _ in range(3):
        assert status(client, pair[1]) == 200

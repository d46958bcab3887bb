"""SIGUSR2: the program that is installed now takes over under the same process id."""

from __future__ import annotations

import os
import signal
import socket

from tests.e2e.websocket import FIN, TEXT, Frame, frame
from tests.e2e.wire.client import HOST
from tests.e2e.wire.reloading import SOON, Reloads
from tests.e2e.wire.test_drain_of_tunnels import frames
from tests.e2e.wire.test_reload import kept, served, tunnel
from tests.http_client import get
from tests.programs import wait_for
from tests.scripted_origin import ScriptedOrigin


def test_the_process_id_is_kept_and_the_workers_are_new(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    reloading = reloads()
    before = reloading.proxy.workers()
    reloading.upgrade()
    assert reloading.events("ready")[-1]["pid"] == reloading.proxy.pid
    wait_for(lambda: not set(before) & set(reloading.proxy.workers()), SOON, "the former's end")
    kept(reloading, origin)


def test_an_open_connection_has_its_next_request_answered(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    reloading = reloads()
    client = kept(reloading, origin)
    reloading.upgrade()
    client.send(get(b"/", HOST))
    served(origin)
    assert client.message().status == 200


def test_a_websocket_lives_on(reloads: Reloads, origin: ScriptedOrigin) -> None:
    reloading = reloads()
    client, call = tunnel(reloading, origin, HOST)
    reloading.upgrade()
    client.send(frame(FIN | TEXT, b"hello"))
    assert frames(call).next() == Frame(FIN | TEXT, True, b"hello")


def test_a_reload_after_an_upgrade_is_like_any_other(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    reloading = reloads()
    client = kept(reloading, origin)
    reloading.upgrade()
    reloading.reload({HOST: {"to": origin.url, "allow": ["192.0.2.1/32"]}})
    client.send(get(b"/", HOST))
    assert client.message().status == 403


def test_where_the_new_program_could_not_serve_the_old_one_stays(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    reloading = reloads()
    before = reloading.proxy.workers()
    reloading.proxy.write("sites: {")
    assert reloading.proxy.file.name in reloading.ask(signal.SIGUSR2, "reload-failed")["message"]
    assert reloading.proxy.workers() == before
    kept(reloading, origin)


def test_a_worker_that_dies_after_an_upgrade_is_replaced(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    reloading = reloads()
    reloading.upgrade()
    reloading.wait_for_workers(1)
    [worker] = reloading.proxy.workers()
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: reloading.events("worker-died"), SOON, "the death being seen")
    kept(reloading, origin)


def test_what_the_new_program_could_not_start_on_is_told_and_clients_are_served_throughout(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    reloading = reloads()
    before = reloading.proxy.workers()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        reloading.write(listen={**reloading.config["listen"], "admin": place})
        reloading.proxy.process.send_signal(signal.SIGUSR2)
        wait_for(
            lambda: kept(reloading, origin) and reloading.events("reload-failed"), SOON, "the word"
        )
    [told] = reloading.events("reload-failed")
    assert told["message"].startswith(f"cannot listen on {place}: another program listens there")
    assert "\n" not in told["message"]
    assert reloading.proxy.workers() == before
    kept(reloading, origin)

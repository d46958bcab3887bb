"""Hosts in a file, no e-mail, no manual step: what an operator gets, and what visitors see."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from tests import acme_faults as faults
from tests.acme_shim import AcmeShim, Visit
from tests.authority import Authority
from tests.e2e.certificates.earlier import DAY, Earlier, earlier
from tests.e2e.certificates.served import Served, configuration
from tests.e2e.certificates.visitors import Visitor
from tests.http_client import exchange, get
from tests.origins import Listener
from tests.pebble import NameServer, Pebble, needs_pebble
from tests.programs import wait_for
from tests.tls_client import PlainClient, TLSAlertError, TLSClient

pytestmark = needs_pebble
HOSTS = ("api.example.com", "http1.example.com", "grafana.example.com")
HOST = HOSTS[0]


@pytest.fixture
def own(
    authority: Authority, names: NameServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AcmeShim]:
    """A CA of the test's own, since its validation ports are the proxy's listeners."""
    folder = tmp_path_factory.mktemp("pebble")
    with Pebble(folder, authority, names=names) as ca, AcmeShim(ca, authority) as shim:
        yield shim


def put(folder: Path, host: str, *, begun: timedelta, ends: timedelta) -> Earlier:
    """A pair of before in the store of the proxy that will run in `folder`."""
    pair, store = earlier(host, begun=begun, ends=ends), folder / "store"
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    (store / f"{host}.pem").write_bytes(pair.certificate)
    (store / f"{host}.key").touch(mode=0o600)
    (store / f"{host}.key").write_bytes(pair.key)
    return pair


def hello(connection: socket.socket) -> None:
    """An origin with one thing to say, once per connection."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world")


def to(origin: Listener) -> dict[str, str]:
    """Every host, served by `origin`."""
    return dict.fromkeys(HOSTS, f"http://127.0.0.1:{origin.port}")


def shown(proxy: Served, host: str) -> list[str] | None:
    """The names in the certificate shown for `host`, None for an alert."""
    try:
        with TLSClient(proxy.https, host) as client:
            return client.names()
    except TLSAlertError:
        return None


def test_three_hosts_have_verified_certificates_within_seconds(
    own: AcmeShim, tmp_path: Path
) -> None:
    config = configuration(own, tmp_path, HOSTS)
    with Listener(hello) as origin, Served(tmp_path, {**config, "sites": to(origin)}) as proxy:
        root = own.pebble.root()
        for host in HOSTS:
            wait_for(Visitor(proxy.https, host, root).is_welcome, 15, what=host)
            with TLSClient(proxy.https, host, cafile=root) as client:
                assert client.names() == [host]
                assert (client.protocol, client.group) == ("TLSv1.3", "X25519MLKEM768")
                assert exchange(client, get(b"/", host)).content == b"hello world"
        assert own.count("newAccount") == 1
        assert own.count("newOrder") == len(HOSTS)
        assert "contact" not in own.of("newAccount")[0].payload


def test_the_store_holds_the_files_the_operator_was_told_of(own: AcmeShim, tmp_path: Path) -> None:
    with Served(tmp_path, configuration(own, tmp_path, [HOST])) as proxy:
        state = proxy.store / f"{HOST}.json"
        wait_for(lambda: _next_renewal(state), 15, what="the first certificate")
        expected = {"acme.json", f"{HOST}.key", f"{HOST}.pem", f"{HOST}.json"}
        assert expected <= {path.name for path in proxy.store.iterdir()}
        assert proxy.store.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in map(proxy.store.joinpath, expected)} == {
            0o600
        }


def _next_renewal(state: Path) -> object:
    return state.exists() and json.loads(state.read_bytes()).get("next_renewal")


def test_a_valid_certificate_is_served_within_a_second_of_the_start_while_the_ca_is_down(
    own: AcmeShim, tmp_path: Path
) -> None:
    put(tmp_path, HOST, begun=DAY, ends=89 * DAY)
    own.go_away()
    with Served(tmp_path, configuration(own, tmp_path, [HOST])) as proxy:
        ready = time.monotonic()
        assert shown(proxy, HOST) == [HOST]
        assert time.monotonic() - ready < 1


def test_a_host_without_certificate_gets_the_alert_until_the_ca_answers(
    own: AcmeShim, tmp_path: Path
) -> None:
    put(tmp_path, HOSTS[1], begun=DAY, ends=89 * DAY)
    own.go_away()
    with Served(tmp_path, configuration(own, tmp_path, HOSTS[:2])) as proxy:
        assert shown(proxy, HOST) is None
        assert shown(proxy, HOSTS[1]) == [HOSTS[1]]
        own.come_back()
        wait_for(lambda: shown(proxy, HOST) == [HOST], 15, what="the first certificate")


def test_an_expired_certificate_is_served_until_the_ca_answers_and_then_replaced(
    own: AcmeShim, tmp_path: Path
) -> None:
    put(tmp_path, HOST, begun=90 * DAY, ends=-DAY)
    own.go_away()
    with Served(tmp_path, configuration(own, tmp_path, [HOST])) as proxy:
        assert shown(proxy, HOST) == [HOST]
        own.come_back()
        visitor = Visitor(proxy.https, HOST, own.pebble.root())
        wait_for(visitor.is_welcome, 15, what="the new certificate")


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_the_proxy_itself_answers_the_challenge(
    own: AcmeShim, tmp_path: Path, challenge: str
) -> None:
    config = configuration(own, tmp_path, [HOST], workers=2, challenges=[challenge])
    with Served(tmp_path, config) as proxy:
        wait_for(lambda: shown(proxy, HOST) == [HOST], 15, what="the certificate")
    assert own.pebble.failed_validations() == 0


def test_no_visitor_is_shown_the_certificate_of_a_challenge(own: AcmeShim, tmp_path: Path) -> None:
    own.on("authorization", _slowly)
    config = configuration(own, tmp_path, [HOST], challenges=["tls-alpn-01"])
    with Served(tmp_path, config) as proxy:
        answer = proxy.store / "challenges" / "tls-alpn-01" / f"{HOST}.pem"
        wait_for(answer.exists, 15, what="the answer to the challenge")
        assert shown(proxy, HOST) is None
        own.heal()


def _slowly(visit: Visit) -> None:
    """The first look passes; later ones say that validation is under way."""
    answer = visit.forward()
    if visit.shim.count("challenge"):
        document = {**answer.json(), "status": "pending"}
        answer = answer._replace(content=json.dumps(document).encode())
    visit.answer(answer)


def test_an_unknown_challenge_token_is_not_found(own: AcmeShim, tmp_path: Path) -> None:
    with Served(tmp_path, configuration(own, tmp_path, [HOST])) as proxy:
        assert proxy.http is not None
        with PlainClient(proxy.http) as client:
            answer = exchange(client, get(b"/.well-known/acme-challenge/unknown", HOST))
        assert answer.status == 404


def test_a_killed_certificate_process_is_replaced_and_costs_no_second_issuance(
    own: AcmeShim, tmp_path: Path
) -> None:
    own.on("certificate", faults.hang, times=1)
    with Served(tmp_path, configuration(own, tmp_path, [HOST], workers=2)) as proxy:
        wait_for(lambda: own.count("certificate"), 15, what="the download")
        [keeper] = keepers(proxy)
        os.kill(keeper, signal.SIGKILL)
        wait_for(lambda: shown(proxy, HOST) == [HOST], 15, what="the certificate")
        assert keepers(proxy) != [keeper]
    assert own.pebble.issued() == own.count("newOrder") == 1


def keepers(proxy: Served) -> list[int]:
    """The processes that hold the store's lock: their ids."""
    lock = str(proxy.store / "lock")
    return [pid for pid in proxy.workers() if lock in _open_files(pid)]


def _open_files(pid: int) -> set[str]:
    files = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        # Closed since it was listed: not open.
        with suppress(FileNotFoundError):
            files.add(os.readlink(file))
    return files


def test_a_host_put_in_by_a_reload_gets_its_certificate(own: AcmeShim, tmp_path: Path) -> None:
    config = configuration(own, tmp_path, [HOST])
    with Served(tmp_path, config) as proxy:
        wait_for(lambda: shown(proxy, HOST) == [HOST], 15, what="the first certificate")
        proxy.write(with_hosts(config, [HOST, HOSTS[1]]))
        proxy.process.send_signal(signal.SIGHUP)
        wait_for(lambda: shown(proxy, HOSTS[1]) == [HOSTS[1]], 15, what="the second certificate")
        assert shown(proxy, HOST) == [HOST]
    assert own.pebble.issued() == 2


def test_a_host_taken_out_in_mid_order_breaks_no_other(own: AcmeShim, tmp_path: Path) -> None:
    own.on("certificate", faults.hang, times=1)
    config = configuration(own, tmp_path, HOSTS[:2])
    with Served(tmp_path, config) as proxy:
        wait_for(lambda: own.count("certificate"), 15, what="the first download")
        proxy.write(with_hosts(config, [HOSTS[1], HOSTS[2]]))
        proxy.process.send_signal(signal.SIGHUP)
        wait_for(lambda: shown(proxy, HOSTS[1]) == [HOSTS[1]], 30, what="the other's certificate")
        wait_for(lambda: shown(proxy, HOSTS[2]) == [HOSTS[2]], 30, what="the new one's")
        assert shown(proxy, HOST) is None


def test_an_order_under_way_goes_on_over_a_reload_that_does_not_concern_it(
    own: AcmeShim, tmp_path: Path
) -> None:
    reloaded = threading.Event()

    def after_the_reload(visit: Visit) -> None:
        reloaded.wait(30)
        visit.answer(visit.forward())

    own.on("certificate", after_the_reload, times=1)
    config = configuration(own, tmp_path, [HOST])
    with Served(tmp_path, config) as proxy:
        wait_for(lambda: own.count("certificate"), 15, what="the download")
        [keeper] = keepers(proxy)
        proxy.write({**config, "limits": {"request_body": "1MiB"}})
        proxy.process.send_signal(signal.SIGHUP)
        wait_for(lambda: proxy.says('"event": "reloaded"'), 15, what="the reload")
        reloaded.set()
        assert keepers(proxy) == [keeper]
        wait_for(lambda: shown(proxy, HOST) == [HOST], 15, what="the certificate")
    assert own.count("newOrder") == 1


def refused(proxy: Served) -> object:
    return proxy.says('"event": "failed"')


def test_a_reload_of_the_same_file_asks_again_for_what_was_refused(
    own: AcmeShim, tmp_path: Path
) -> None:
    own.on("newOrder", faults.problem(403, "caa", "a CAA record forbids it"), times=1)
    with Served(tmp_path, configuration(own, tmp_path, [HOST])) as proxy:
        wait_for(lambda: refused(proxy), 15, what="the refusal")
        proxy.process.send_signal(signal.SIGHUP)
        wait_for(lambda: shown(proxy, HOST) == [HOST], 15, what="the certificate")


def test_a_start_asks_again_for_what_was_refused(own: AcmeShim, tmp_path: Path) -> None:
    own.on("newOrder", faults.problem(403, "caa", "a CAA record forbids it"), times=1)
    config = configuration(own, tmp_path, [HOST])
    with Served(tmp_path, config) as proxy:
        wait_for(lambda: refused(proxy), 15, what="the refusal")
    with Served(tmp_path, config) as proxy:
        wait_for(lambda: shown(proxy, HOST) == [HOST], 15, what="the certificate")


def with_hosts(config: Mapping[str, object], hosts: Sequence[str]) -> dict[str, object]:
    """The configuration for these hosts, each served as the former first one was."""
    sites = config["sites"]
    assert isinstance(sites, Mapping)
    first = next(iter(sites.values()))
    return {**config, "sites": dict.fromkeys(hosts, first)}

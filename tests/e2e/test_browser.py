"""A real browser through the proxy: pages it trusts, and WebSockets held for a minute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.authority import Authority
from tests.e2e.browser import Sockets, chromium
from tests.e2e.conftest import Front
from tests.e2e.demo import Demo
from tests.e2e.jupyter import HOST, TOKEN, Jupyter
from tests.programs import PATIENCE, Hopward, requires

MINUTE = 60_000  # milliseconds, as a browser counts
# A page of Jupyter's that types into a terminal every quarter of a second and counts the echoes.
TYPE_AND_COUNT = """
async () => {
  const answer = await fetch("/api/terminals", {method: "POST", headers: {
    "X-XSRFToken": document.cookie.match(/_xsrf=([^;]*)/)[1]}});
  const {name} = await answer.json();
  window.typed = window.echoed = window.closed = 0;
  const socket = new WebSocket(`wss://${location.host}/terminals/websocket/${name}`);
  let printed = "";
  socket.onmessage = ({data}) => {
    const [kind, text] = JSON.parse(data);
    if (kind !== "stdout") return;
    printed = (printed + text).slice(-4000);
    const echoes = [...printed.matchAll(/<(\\d+)>/g)].map((each) => Number(each[1]));
    window.echoed = Math.max(window.echoed, ...echoes);
  };
  socket.onclose = () => { window.closed += 1; };
  await new Promise((opened) => { socket.onopen = opened; });
  setInterval(() => socket.send(JSON.stringify(["stdin", `echo "<"${++window.typed}">"\\r`])), 250);
}
"""

pytestmark = [
    requires("chromium", "apt-get install chromium"),
    requires("certutil", "apt-get install libnss3-tools"),
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("demo"), "grafana.example.com") as program:
        yield program


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    with Jupyter(tmp_path_factory.mktemp("jupyter")) as program:
        yield program


@pytest.fixture(scope="module")
def proxy(jupyter: Jupyter, front: Front) -> Hopward:
    return front({HOST: f"http://127.0.0.1:{jupyter.port}"})


@pytest.fixture(scope="module")
def browser(
    demo: Demo, proxy: Hopward, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    resolve = f"MAP {HOST} 127.0.0.1"
    home = tmp_path_factory.mktemp("home")
    with chromium(home, [authority.pem, demo.root], resolve) as started:
        yield started


def open_jupyter(page: Page, proxy: Hopward) -> None:
    page.goto(f"https://{HOST}:{proxy.https}/?token={TOKEN}")


def open_demo(page: Page, demo: Demo) -> None:
    page.goto(f"https://grafana.localhost:{demo.port}/")
    page.wait_for_selector("body.connected")


def test_two_pages_hold_their_websockets_for_a_minute_while_messages_flow(
    browser: Browser, proxy: Hopward, demo: Demo, tmp_path: Path
) -> None:
    with browser.new_page() as terminal, browser.new_page() as chart:
        typed, told = Sockets(terminal), Sockets(chart)
        open_jupyter(terminal, proxy)
        terminal.evaluate(TYPE_AND_COUNT)
        open_demo(chart, demo)
        chart.wait_for_timeout(MINUTE)
        terminal.wait_for_function("window.echoed >= 200", timeout=PATIENCE * 1000)
        chart.screenshot(path=tmp_path / "demo.png", full_page=True)
        assert (typed.opened, typed.over, terminal.evaluate("window.closed")) == (1, 0, 0)
        assert (told.opened, told.over, chart.inner_text("#reconnections")) == (1, 0, "0")
    assert told.frames > 200
    assert typed.complaints + told.complaints == []


def test_the_demo_page_is_told_how_it_came_and_draws_its_chart(
    browser: Browser, demo: Demo, tmp_path: Path
) -> None:
    with browser.new_page(color_scheme="dark") as page:
        sockets = Sockets(page)
        open_demo(page, demo)
        page.wait_for_function("Number(document.getElementById('messages').textContent) > 10")
        page.screenshot(path=tmp_path / "dark.png", full_page=True)
        assert page.inner_text("#address").startswith(f"wss://grafana.localhost:{demo.port}/")
        assert sockets.complaints == []


def test_a_second_viewer_is_counted_and_leaves_again(browser: Browser, demo: Demo) -> None:
    with browser.new_page() as first:
        open_demo(first, demo)
        first.wait_for_function("document.getElementById('viewers').textContent === '1'")
        with browser.new_page() as second:
            open_demo(second, demo)
            first.wait_for_function("document.getElementById('viewers').textContent === '2'")
        first.wait_for_function("document.getElementById('viewers').textContent === '1'")


def test_the_login_of_jupyter_works_in_a_browser(browser: Browser, proxy: Hopward) -> None:
    with browser.new_page() as page:
        page.goto(f"https://{HOST}:{proxy.https}/login")
        page.fill("input[name=password]", TOKEN)
        with page.expect_navigation():
            page.press("input[name=password]", "Enter")
        assert page.evaluate("fetch('/api/status').then((answer) => answer.status)") == 200

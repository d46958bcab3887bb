"""The status page in a real browser: what an operator sees there, while it happens."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from acme_client import Store
from tests.authority import Authority
from tests.e2e.browser import chromium
from tests.e2e.watched import API, PAIR, Watched, origin, serve, watched
from tests.http_client import get
from tests.origins import Listener
from tests.programs import PATIENCE, free_port, requires, wait_for

pytestmark = [
    requires("chromium", "apt-get install chromium"),
    requires("certutil", "apt-get install libnss3-tools"),
]

ENDING, ODD = "ending.example.com", "odd.example.com"
WAIT = PATIENCE * 1000  # milliseconds, as a browser counts


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("home"), [authority.pem], "MAP * 127.0.0.1") as started:
        yield started


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Watched]:
    """Two sites, nothing amiss."""
    with (
        origin() as url,
        watched(tmp_path_factory.mktemp("well"), authority, {API: url, PAIR: url}) as proxy,
    ):
        yield proxy


class Shown:
    """The page as it is shown; whatever the browser complains of is kept."""

    def __init__(self, page: Page, proxy: Watched) -> None:
        self.page, self.complaints = page, list[str]()
        page.on("console", lambda said: self.complaints.append(said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(f"{proxy.url}/status")
        page.wait_for_selector("body.live", timeout=WAIT)

    def waits_for(self, selector: str, text: str) -> None:
        """Wait until an element says so."""
        self.page.locator(selector, has_text=text).first.wait_for(timeout=WAIT)

    def row(self, table: str, name: str) -> list[str]:
        """The cells of a row."""
        row = self.page.locator(f"#{table} tbody tr", has_text=name)
        return [cell.strip() for cell in row.locator("td").all_inner_texts()]

    def names(self, table: str) -> list[str]:
        """The names in a table that are shown, from its top."""
        rows = self.page.locator(f"#{table} tbody tr:visible .name > span > span:last-child")
        return [name.partition("\n")[0] for name in rows.all_inner_texts()]


@pytest.fixture
def shown(browser: Browser, well: Watched) -> Iterator[Shown]:
    with browser.new_page() as page:
        yield Shown(page, well)


# Live


def test_figures_move_without_a_reload(shown: Shown, well: Watched) -> None:
    shown.page.evaluate("window.same = true")
    for _ in range(30):
        well.asks(b"/")
    well.asks(b"/500")
    wait_for(lambda: shown.page.inner_text("#rate") not in ("–", "0"))
    shown.waits_for("#errors", "%")
    for line in ("#plot-rate path.l1", "#plot-latency path.l3"):
        # One that is level has no height, and so is not called visible.
        shown.page.wait_for_selector(line, timeout=WAIT, state="attached")
    rate, _, _, p50 = shown.row("sites", API)[1:5]
    assert float(rate) > 0
    assert p50.endswith("ms")
    assert shown.page.evaluate("window.same")
    assert shown.complaints == []


def test_an_open_websocket_is_seen_to_come_and_go(shown: Shown, well: Watched) -> None:
    with well.dial() as client:
        client.send(get(b"/socket", API, b"Connection: Upgrade", b"Upgrade: websocket"))
        client.recv()
        shown.waits_for("#websockets", "1")
        wait_for(lambda: shown.row("sites", API)[6] == "1")
    shown.waits_for("#websockets", "0")


def test_a_reload_is_seen_with_how_it_ended(shown: Shown, well: Watched) -> None:
    well.proxy.process.send_signal(signal.SIGHUP)
    shown.waits_for("#reload", "succeeded")
    written = well.proxy.file.read_text()
    well.proxy.write("sites: {}\nnonsense: 1\n")
    well.proxy.process.send_signal(signal.SIGHUP)
    shown.waits_for("#problems", "nonsense")
    well.proxy.write(written)
    well.proxy.process.send_signal(signal.SIGHUP)
    shown.waits_for("#verdict-title", "All is well")


def test_nothing_is_asked_while_it_is_paused(browser: Browser, well: Watched) -> None:
    with browser.new_page() as page:
        page.clock.install()
        shown = Shown(page, well)
        with page.expect_response("**/status.json", timeout=WAIT):
            page.clock.fast_forward("01:00")
        page.click("#state")
        shown.waits_for("#state", "Paused")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.clock.fast_forward("10:00")
        assert asked == []
        with page.expect_response("**/status.json", timeout=WAIT):
            page.click("#state")
        shown.waits_for("#state", "Live")


def test_a_lost_connection_is_said_and_found_again(
    browser: Browser, authority: Authority, tmp_path: Path
) -> None:
    with (
        origin() as url,
        watched(tmp_path, authority, {API: url}) as proxy,
        browser.new_page() as page,
    ):
        shown = Shown(page, proxy)
        children = proxy.proxy.workers()
        for pid in (proxy.proxy.pid, *children):
            os.kill(pid, signal.SIGSTOP)
        shown.waits_for("#state", "Connection lost")
        for pid in (*children, proxy.proxy.pid):
            os.kill(pid, signal.SIGCONT)
        shown.waits_for("#state", "Live")


# What is wrong


def test_an_origin_that_dies_is_shown_with_the_reason_and_gone_from_there_when_it_is_back(
    browser: Browser, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    with (
        origin() as url,
        watched(
            tmp_path, authority, {API: url, PAIR: {"to": [url, f"http://127.0.0.1:{port}"]}}
        ) as proxy,
        browser.new_page() as page,
    ):
        shown = Shown(page, proxy)
        with Listener(serve, port):
            for _ in range(4):
                assert proxy.asks(b"/", PAIR) == 200
            shown.waits_for("#verdict-title", "All is well")
        wait_for(lambda: proxy.asks(b"/", PAIR) and not proxy.site(PAIR)["origins"][1]["healthy"])
        shown.waits_for("#problems", f"http://127.0.0.1:{port}")
        assert shown.names("sites") == [PAIR, API]
        assert "1 of 2 well" in shown.row("sites", PAIR)[7]
        assert page.title().startswith("(1)")
        with Listener(serve, port):
            shown.waits_for("#verdict-title", "All is well")
        assert shown.complaints == []


def test_a_certificate_in_danger_is_shown_first_with_what_its_authority_says(
    browser: Browser, authority: Authority, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    pair = authority.pair(ENDING, dates=(now - timedelta(days=89), now + timedelta(days=1)))
    store = Store(tmp_path / "store")
    assert store.take_lock()
    store.adopt(ENDING, pair.cert.read_bytes(), pair.key.read_bytes())
    store.release_lock()
    acme = {"directory": "https://127.0.0.1:1/"}
    with (
        origin() as url,
        watched(
            tmp_path, authority, {API: url, ENDING: {"to": url, "tls": "acme"}}, acme=acme
        ) as proxy,
        browser.new_page() as page,
    ):
        shown = Shown(page, proxy)
        shown.waits_for("#problems", "its renewal is in danger")
        shown.waits_for("#problems", "127.0.0.1:1")
        assert shown.names("certificates") == [ENDING, API]
        assert shown.row("certificates", ENDING)[1].startswith(("23 h", "1 d"))
        assert page.inner_text("#tile-certificates").split("\n")[1:] == [
            shown.row("certificates", ENDING)[1].partition("\n")[0],
            f"first to end: {ENDING}",
        ]


def test_what_comes_from_outside_stays_text(
    browser: Browser, well: Watched, tmp_path: Path
) -> None:
    with browser.new_page() as page:
        evil = "<img src=x onerror=document.title='owned'>"
        status = well.status()
        status["sites"][0]["site"] = status["certificates"][0]["host"] = evil
        status["sites"][0]["origins"][0] |= {"healthy": False, "reason": evil, "origin": evil}
        status["certificates"][0] |= {"issuer": f"CN={evil}", "last_error": evil, "level": "watch"}
        page.route("**/status.json", lambda route: route.fulfill(json=status))
        shown = Shown(page, well)
        shown.waits_for("#problems", evil)
        assert page.locator("img").count() == 0
        assert "owned" not in page.title()


def test_nothing_but_its_own_script_runs(shown: Shown) -> None:
    shown.page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.text = "window.odd = 1";
          document.head.append(script);
        }"""
    )
    assert shown.page.evaluate("window.odd") is None
    assert any("Content Security Policy" in said for said in shown.complaints)


# Many sites, small screens, no mouse


@pytest.fixture
def many(browser: Browser, well: Watched) -> Iterator[Shown]:
    """Two hundred sites, of which the one in the middle is in trouble."""
    with browser.new_page() as page:
        status = well.status()
        [site, *_], [certificate, *_] = status["sites"], status["certificates"]
        hosts = [f"tenant-{number:03}.example.com" for number in range(200)]
        status["sites"] = [
            {**site, "site": host, "websockets": number} for number, host in enumerate(hosts)
        ]
        status["certificates"] = [{**certificate, "host": host} for host in hosts]
        [own, *_] = site["origins"]
        status["sites"][99]["origins"] = [{**own, "healthy": False, "reason": "refused"}]
        page.route("**/status.json", lambda route: route.fulfill(json=status))
        yield Shown(page, well)


def test_among_two_hundred_sites_the_one_in_trouble_comes_first(many: Shown) -> None:
    assert len(many.names("sites")) == 200
    assert many.names("sites")[:3] == [
        "tenant-099.example.com",
        "tenant-000.example.com",
        "tenant-001.example.com",
    ]


def test_sites_and_certificates_are_filtered_by_what_one_types(many: Shown) -> None:
    many.page.fill("#filter", "-04")
    assert many.names("sites") == [f"tenant-04{digit}.example.com" for digit in range(10)]
    assert len(many.names("certificates")) == 10
    many.page.fill("#filter", "nothing like it")
    assert many.page.is_visible("#no-sites")


def test_problems_alone_can_be_shown(many: Shown) -> None:
    many.page.check("#only")
    assert many.names("sites") == ["tenant-099.example.com"]


def test_on_a_narrow_screen_the_first_are_shown_until_all_are_asked_for(many: Shown) -> None:
    many.page.set_viewport_size({"width": 360, "height": 800})
    assert many.names("sites")[0] == "tenant-099.example.com"
    assert len(many.names("sites")) == 12
    many.page.click("#more-sites")
    assert len(many.names("sites")) == 200
    assert many.page.is_hidden("#more-sites")


def test_a_column_sorts_by_keyboard_and_says_so(many: Shown) -> None:
    many.page.focus("#sites th button >> text=WebSockets")
    many.page.keyboard.press("Enter")
    assert many.names("sites")[0] == "tenant-199.example.com"
    sorted_by = many.page.get_attribute("#sites th:has-text('WebSockets')", "aria-sort")
    assert sorted_by == "descending"


def test_arrow_keys_move_through_the_plots(shown: Shown, well: Watched) -> None:
    shown.page.wait_for_selector("#plot-rate path.l1", timeout=WAIT, state="attached")
    shown.page.focus("#plot-rate")
    shown.page.keyboard.press("ArrowLeft")
    assert shown.page.inner_text("#latency-when").startswith("at ")
    shown.page.keyboard.press("Escape")
    assert shown.page.inner_text("#latency-when") == "last 5 minutes"


@pytest.mark.parametrize("width", [360, 768, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(
    browser: Browser, well: Watched, tmp_path: Path, width: int, scheme: str
) -> None:
    with browser.new_page(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,  # type: ignore[arg-type]
    ) as page:
        shown = Shown(page, well)
        shown.waits_for("#verdict-title", "All is well")
        page.screenshot(path=tmp_path / f"{scheme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CONTRASTS) == []
        assert shown.complaints == []


# Texts whose contrast with what lies behind them is under 4.5 (WCAG 2.2, 1.4.3).
CONTRASTS = """
() => {
  const shade = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((each) => each / 255)
    .map((each) => each <= .04045 ? each / 12.92 : ((each + .055) / 1.055) ** 2.4)
    .reduce((sum, each, at) => sum + each * [.2126, .7152, .0722][at], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = shade(getComputedStyle(at).backgroundColor);
      if (color[3] !== 0) return color;
    }
    return [255, 255, 255];
  };
  const spoken = (element) =>
    [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const texts = [...document.querySelectorAll("body *")]
    .filter((element) => element.checkVisibility() && spoken(element));
  return texts.map((element) => {
    const style = getComputedStyle(element), svg = element instanceof SVGElement;
    const [one, other] = [light(shade(svg ? style.fill : style.color)), light(behind(element))];
    const contrast = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
    return [contrast, element.textContent];
  }).filter(([contrast]) => contrast < 4.5);
}
"""

"""Real clients that are sent coded answers: curl, and a browser."""

from __future__ import annotations

import hashlib
import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.e2e.browser import chromium
from tests.e2e.conftest import Front
from tests.origins import Listener
from tests.programs import Hopward, requires

HOST = "app.example.com"
_WORDS = random.Random(7).choices(["seeder", "leecher", "torrent", "☂", "\n"], k=200_000)
TEXT = " ".join(_WORDS).encode()
FETCH = """
async (url) => {
  const answer = await fetch(url);
  const octets = new Uint8Array(await answer.arrayBuffer());
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", octets));
  return {length: octets.length, digest: Array.from(digest),
          coding: answer.headers.get("content-encoding")};
}
"""


def page(connection: socket.socket) -> None:
    """Answers every request of a connection with TEXT, in chunks of all sizes."""
    sizes = random.Random(7)
    heard = b""
    while piece := connection.recv(65536):
        heard += piece
        while b"\r\n\r\n" in heard:
            heard = heard.partition(b"\r\n\r\n")[2]
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            at = 0
            while at < len(TEXT):
                part = TEXT[at : at + sizes.choice((1, 10, 1000, 100_000))]
                connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
                at += len(part)
            connection.sendall(b"0\r\n\r\n")


@pytest.fixture(scope="module")
def proxy(front: Front) -> Iterator[Hopward]:
    with Listener(page) as origin:
        yield front({HOST: {"to": f"http://127.0.0.1:{origin.port}", "compress": True}})


@requires("curl", "apt-get install curl")
@pytest.mark.parametrize("coding", ["zstd", "gzip"])
def test_curl_decodes_to_what_the_origin_sent(
    proxy: Hopward, authority: Authority, tmp_path: Path, coding: str
) -> None:
    resolve = f"{HOST}:{proxy.https}:127.0.0.1"
    command = ["curl", "-sS", "--compressed", "-H", f"Accept-Encoding: {coding}"]
    command += ["--cacert", str(authority.pem), "--resolve", resolve, "-o", str(tmp_path / "body")]
    command += ["-w", "%header{content-encoding} %{size_download}"]
    url = f"https://{HOST}:{proxy.https}/"
    told = subprocess.run([*command, url], check=True, capture_output=True, text=True, timeout=60)
    used, size = told.stdout.split()
    assert used == coding
    assert int(size) < len(TEXT) / 2
    assert (tmp_path / "body").read_bytes() == TEXT


@requires("chromium", "apt-get install chromium")
@requires("certutil", "apt-get install libnss3-tools")
def test_a_browser_is_sent_zstd_and_decodes_it(
    proxy: Hopward, authority: Authority, tmp_path: Path
) -> None:
    url = f"https://{HOST}:{proxy.https}/"
    home = chromium(tmp_path, [authority.pem], f"MAP {HOST} 127.0.0.1")
    with home as browser, browser.new_page() as tab:
        tab.goto(url)
        seen = tab.evaluate(FETCH, url)
    assert seen["coding"] == "zstd"
    assert bytes(seen["digest"]) == hashlib.sha256(TEXT).digest()

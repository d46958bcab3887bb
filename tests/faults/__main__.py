"""`python -m tests.faults MINUTES [SEED]`: the test of the same name for as long as one likes.

Prints what was seen of each fault, and ends with 1 at the first wrong byte.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import tempfile
import time
from pathlib import Path

from tests.authority import Authority
from tests.faults.clients import Crowd, statuses
from tests.faults.origin import FaultyOrigin
from tests.faults.plan import HOST, Plans
from tests.programs import Hopward

LISTEN = {"https": "127.0.0.1:0", "http": False, "admin": False}
TIMEOUTS = {"response_head": "8s", "response_body": "8s"}


async def watch(lags: list[float]) -> None:
    """How long the loop of clients and origin has stood still, at worst."""
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(0.05)
        lags[0] = max(lags[0], loop.time() - before - 0.05)


async def run(minutes: float, seed: int, folder: Path) -> int:
    authority = Authority(folder)
    trusting = ssl.create_default_context(cafile=str(authority.pem))
    end = time.monotonic() + minutes * 60
    async with FaultyOrigin() as origin:
        site = {"to": f"http://127.0.0.1:{origin.port}", "tls": authority.pair(HOST).tls()}
        config = {
            "listen": LISTEN,
            "workers": 1,
            "access_log": "off",
            "store": str(folder / "store"),
            "timeouts": TIMEOUTS,
            "sites": {HOST: site},
        }
        with Hopward(folder / "hopward", config) as proxy:
            total, lags = 0, [0.0]
            watching = asyncio.ensure_future(watch(lags))
            while time.monotonic() < end:
                named, faulty = ((True, 0.4), (False, 0.05), (False, 0.4))[seed % 3]
                plans = Plans(seed, named=named, faulty=faulty)
                crowd = Crowd(proxy.https, trusting, plans, origin)
                await crowd.ask(3000)
                total, seed = total + plans.token, seed + 1
                print(
                    f"{total} exchanges, seed {seed - 1}: {dict(statuses(crowd.seen))},"
                    f" {len(origin.crossed)} crossed, stood still {lags[0]:.2f} s",
                    flush=True,
                )
                if crowd.wrong or origin.wrong:
                    print(*crowd.wrong, *origin.wrong, proxy.stderr_text(), sep="\n")
                    return 1
            watching.cancel()
            if found := proxy.says("Traceback|worker_(died|restarted)|error"):
                print(found.string)
                return 1
    return 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*sys.argv[1:], "1"]
        sys.exit(asyncio.run(run(float(arguments[0]), int(arguments[1]), Path(folder))))

"""Work on several hosts at once.

Law: all of it has ended when `together` returns; so whoever calls it sees no threads.

A validation can take an authority minutes, and one host's firewall is no reason for the others to
wait. A few at once are enough, and as many as no authority minds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

AT_ONCE = 4


def together(work: Callable[[str], None], hosts: Sequence[str], at_once: int = AT_ONCE) -> None:
    """Do `work` for each host, begun in their order; raises what the first of them raised."""
    if len(hosts) < 2 or at_once < 2:
        for host in hosts:
            work(host)
        return
    with ThreadPoolExecutor(at_once, thread_name_prefix="acme-host") as pool:
        begun = [pool.submit(work, host) for host in hosts]
    for each in begun:
        each.result()

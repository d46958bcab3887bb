"""What one client may take of the proxy, counted over all workers."""

from .headcount import Headcount
from .quotas import Quotas


class FairShare:
    """Made before the workers are forked, and kept over reloads; an upgrade begins with another."""

    def __init__(self) -> None:
        self.quotas = Quotas()
        self.headcount = Headcount()

    def join(self) -> None:
        """Say in a worker, before it serves, that it is one."""
        self.quotas.join()
        self.headcount.join()

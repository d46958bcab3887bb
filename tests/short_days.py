"""The proxy, but that a context's day lasts a moment and few days are made ahead.

python -m tests.short_days run -c FILE
"""

from __future__ import annotations

import sys

from proxy import rotation
from proxy.__main__ import main

if __name__ == "__main__":
    rotation.DAY_SECONDS, rotation.DAYS_AHEAD, rotation.DAYS_LOW = 1.0, 6, 3
    sys.exit(main())

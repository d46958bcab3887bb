"""The page that shows the status.

Law: nothing in it comes from elsewhere, and nothing runs in it that was not in its file: its policy
names its one style and its one script by their hashes.
"""

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

PAGE = files("proxy.status").joinpath("page.html").read_bytes()


def _hash_of(element: bytes) -> str:
    [content] = re.findall(rb"<%b>(.*?)</%b>" % (element, element), PAGE, re.DOTALL)
    return f"'sha256-{b64encode(sha256(content).digest()).decode('ascii')}'"


# CSP 3. What it fetches is its own `status.json`; its icon is written in the page.
POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_hash_of(b'style')}",
        f"script-src {_hash_of(b'script')}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

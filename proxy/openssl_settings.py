"""What OpenSSL is told by its configuration file, for pyOpenSSL has no name for it.

Law: it concerns the OpenSSL that cryptography brings and no other: neither the standard library's,
nor that of programs begun from here. Whoever has set OPENSSL_CONF is left alone.

Why: OpenSSL makes two session tickets for each full handshake, where clients of HTTP/1.1 and Go's
and BoringSSL's servers do with one. The second takes 1.2 % of the instructions of a handshake with
both its ends (`python -m bench.micro --instructions`).
"""

import os
import sys
from pathlib import Path

_NAME = "OPENSSL_CONF"
_LIBRARY = "cryptography.hazmat.bindings._rust"


def load() -> None:
    """Load cryptography's OpenSSL with these settings, unless it is loaded already."""
    if _NAME in os.environ or _LIBRARY in sys.modules:
        return
    os.environ[_NAME] = str(Path(__file__).with_name("openssl.cnf"))
    try:
        __import__(_LIBRARY)
    finally:
        del os.environ[_NAME]

"""What OpenSSL is told by its configuration file, for pyOpenSSL has no name for it."""

from __future__ import annotations

import os
import subprocess
import sys

LOAD = "import os; from proxy import openssl_settings; openssl_settings.load(); "


def said(code: str, **environment: str) -> str:
    """What a process of its own prints: OpenSSL is loaded once in each."""
    ran = subprocess.run(
        [sys.executable, "-c", LOAD + code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return ran.stdout.strip()


def test_programs_begun_later_are_told_nothing() -> None:
    assert said("print(os.environ.get('OPENSSL_CONF'))") == "None"


def test_who_has_chosen_a_configuration_keeps_it() -> None:
    assert said("print(os.environ.get('OPENSSL_CONF'))", OPENSSL_CONF="/dev/null") == "/dev/null"


def test_openssl_is_loaded_with_it() -> None:
    loaded = "import sys; print('cryptography.hazmat.bindings._rust' in sys.modules)"
    assert said(loaded) == "True"

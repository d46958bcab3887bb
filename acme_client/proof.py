"""Showing an authority that a name is ours: the answer is put where it looks.

Law: what was put is taken away again, whatever happens between.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from josepy.jwk import JWK

from .answers import Answers
from .challenges import alpn_certificate, key_authorization, txt_record
from .dns import run_hook
from .errors import AcmeError, GiveUp, NotTried, Retry
from .names import sni
from .patience import Patience
from .settings import Settings
from .times import Clock

# A record is taken away even where the work is told to stop, which may last so long then: less than
# running exchanges get by default.
CLEANUP_TAKES = 20.0


class Proof:
    """Places answers for all kinds of challenges."""

    def __init__(
        self, answers: Answers, settings: Settings, patience: Patience, clock: Clock
    ) -> None:
        self._answers = answers
        self._settings = settings
        self._patience = patience
        self._clock = clock

    @contextmanager
    def shown(self, challenge: str, name: str, token: str, key: JWK) -> Iterator[None]:
        """While this lasts, `challenge` is answered for `name`.

        Raises StoreError or IssueError when it cannot be.
        """
        authorization = key_authorization(token, key)
        if challenge == "dns-01":
            with self._record(name, txt_record(authorization)):
                yield
            return
        try:
            answer = self._put(challenge, name, token, authorization)
        except ValueError as error:
            raise Retry(f"the authority's challenge cannot be answered: {error}") from error
        try:
            yield
        finally:
            self._answers.remove(answer)

    def _put(self, challenge: str, name: str, token: str, authorization: str) -> Path:
        if challenge == "http-01":
            return self._answers.put_http_token(token, authorization)
        if challenge == "tls-alpn-01":
            pem = alpn_certificate(name, authorization, self._clock())
            return self._answers.put_alpn_certificate(sni(name), pem)
        raise GiveUp(f"{challenge} is no challenge that can be answered")

    @contextmanager
    def _record(self, name: str, value: str) -> Iterator[None]:
        hook = self._settings.dns_hook
        if not hook:
            raise NotTried(f"{name}: dns-01 needs a hook program that sets TXT records")
        try:
            run_hook(hook, "present", name, value, self._patience)
            yield
        finally:
            with suppress(AcmeError):
                unhurried = Patience(threading.Event())
                run_hook(hook, "cleanup", name, value, unhurried, CLEANUP_TAKES)

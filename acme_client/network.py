"""Signed requests to one authority (RFC 8555 §6).

Law: every method returns a successful response or raises an IssueError (or Stopped); a nonce that
is refused is nobody else's business.

The `acme` package signs; its `ClientNetwork` is not used, since it repeats a request once after a
refused nonce (at 50 % refusals no order in a thousand would pass), loses the status and
Retry-After of errors, and its time-out is per read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from acme.jws import JWS
from josepy import errors as josepy_errors
from josepy.b64 import b64decode
from josepy.jwa import ES256, ES384, RS256, JWASignature
from josepy.jwk import JWK, JWKEC

from .errors import IssueError, Retry, RetryLater, Unreachable
from .problems import problem_type, refusal
from .times import Clock, utc_now
from .transport import Answer, Transport

# At 50 % refusals one request in eight thousand fails, at 90 % most orders do, and back off.
NONCE_ATTEMPTS = 13
_NEEDED = ("newNonce", "newAccount", "newOrder")
_JOSE = "application/jose+json"


class Network:
    """One authority, as one attempt sees it. `key` and `account` are set by `account`."""

    def __init__(self, directory: str, transport: Transport, *, clock: Clock = utc_now) -> None:
        self.directory_url = directory
        self.clock = clock
        self.key: JWK | None = None
        self.account: str | None = None
        self._transport = transport
        self._resources: Mapping[str, Any] = {}
        self._nonces: list[bytes] = []

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def open(self) -> None:
        """Read the directory (RFC 8555 §7.1.1); raises Unreachable when nobody answers."""
        try:
            answer = self._transport.send("GET", self.directory_url)
        except Retry as error:
            raise Unreachable(str(error)) from error
        resources = self._checked(answer).json()
        if not all(isinstance(resources.get(name), str) for name in _NEEDED):
            raise Retry(f"{self.directory_url} is no ACME directory: {answer.excerpt()}")
        self._resources = resources

    def resource(self, name: str) -> str | None:
        """A URL of the directory, None where this authority has no such resource."""
        url = self._resources.get(name)
        return url if isinstance(url, str) else None

    def meta(self, name: str) -> Any:
        """A member of the directory's `meta`."""
        meta = self._resources.get("meta")
        return meta.get(name) if isinstance(meta, dict) else None

    @property
    def resources(self) -> Mapping[str, Any]:
        """The whole directory."""
        return self._resources

    def get(self, url: str) -> Answer:
        """An unsigned GET."""
        return self._checked(self._transport.send("GET", url))

    def post(self, url: str, payload: Mapping[str, Any] | None) -> Answer:
        """A signed POST; without a payload a POST-as-GET (RFC 8555 §6.3).

        An empty payload `{}` is sent as such: it answers a challenge.
        """
        content = b"" if payload is None else json.dumps(payload).encode()
        answer = self._post_once(url, content)
        for _ in range(NONCE_ATTEMPTS - 1):
            if problem_type(answer) != "badNonce" or answer.status < 400:
                break
            answer = self._post_once(url, content)
        return self._checked(answer)

    def _post_once(self, url: str, content: bytes) -> Answer:
        nonce = self._nonces.pop() if self._nonces else self._fresh_nonce()
        answer = self._transport.send("POST", url, self._signed(url, content, nonce), _JOSE)
        self._keep_nonce(answer)
        return answer

    def _signed(self, url: str, content: bytes, nonce: bytes) -> bytes:
        if self.key is None:
            raise RuntimeError("no account key yet")
        signature = JWS.sign(
            content, key=self.key, alg=_algorithm(self.key), nonce=nonce, url=url, kid=self.account
        )
        text: str = signature.json_dumps()
        return text.encode()

    def _fresh_nonce(self) -> bytes:
        self._keep_nonce(self._checked(self._transport.send("HEAD", self._resources["newNonce"])))
        if not self._nonces:
            raise Retry(f"{self._resources['newNonce']} gave no nonce")
        return self._nonces.pop()

    def _keep_nonce(self, answer: Answer) -> None:
        """A missing or malformed nonce costs one more request, not the answer it came with."""
        nonce = answer.fields.get("replay-nonce", "")
        try:
            decoded = b64decode(nonce)
        except (ValueError, TypeError, josepy_errors.Error):
            return
        if decoded:
            self._nonces.append(decoded)

    def _checked(self, answer: Answer) -> Answer:
        if answer.status >= 400:
            raise self._sorted(answer)
        if answer.status >= 300:
            raise Retry(f"HTTP {answer.status}: the authority points elsewhere")
        return answer

    def _sorted(self, answer: Answer) -> IssueError:
        error = refusal(answer, self.clock())
        if isinstance(error, RetryLater) or problem_type(answer) != "badNonce":
            return error
        return Retry(f"{NONCE_ATTEMPTS} nonces in a row were refused: {error}")


def _algorithm(key: JWK) -> JWASignature:
    if isinstance(key, JWKEC):
        return ES384 if key.key.key_size == 384 else ES256
    return RS256

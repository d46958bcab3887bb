"""Who a request says it is from, and whether that is enough (RFC 7617, Basic). Pure, but slow.

Law: nobody learns from an answer, or from the time it takes, whether a user exists.
"""

import secrets
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from .head import Fields
from .passwords import Hash, parse


class Credentials(NamedTuple):
    """A user and a password, in the client's own bytes."""

    user: bytes
    password: bytes


def credentials_of(fields: Fields) -> Credentials | None:
    """What the Authorization field says; None where there is none, or it cannot be read."""
    values = fields.values(b"authorization")
    if len(values) != 1:
        return None
    scheme, _, token = values[0].partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        said = b64decode(token.strip(b" "), validate=True)
    except ValueError:
        return None
    user, colon, password = said.partition(b":")
    # RFC 7617 §2: a user without a colon, and no control character in either.
    if not colon or any(octet < 0x20 or octet == 0x7F for octet in said):
        return None
    return Credentials(user, password)


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """Who may come in, at a site or a part of it. `realm` is what a client is told it is."""

    realm: str
    users: Mapping[bytes, Hash] = field(repr=False)
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)

    @classmethod
    def of(cls, realm: str, written: Mapping[str, str]) -> "Guard":
        """The guard that a configuration's users and hashes make."""
        return cls(realm, {user.encode("utf-8"): parse(hash_) for user, hash_ in written.items()})

    def admits(self, credentials: Credentials) -> bool:
        """Whether these are a user and its password. Takes long: never call it on a loop."""
        known = self.users.get(credentials.user)
        matches = (known or self._somebody(credentials.user)).matches(credentials.password)
        return matches and known is not None

    def _somebody(self, user: bytes) -> Hash:
        """Whose hash an unknown user is measured by: always the same, so that it costs the same."""
        digest = blake2b(user, digest_size=8, key=self._secret).digest()
        hashes = list(self.users.values())
        return hashes[int.from_bytes(digest) % len(hashes)]

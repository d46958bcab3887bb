"""Hashes of passwords: made, read and verified. Pure, but slow on purpose.

Law: a password is never kept, shown or compared but through its hash, and a hash that costs more
than a server can spend on each guess is none. Nothing of this belongs on an event loop.
"""

import hashlib
import hmac
import re
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Protocol

import bcrypt

# What passlib writes ("$scrypt$ln=17,r=8,p=1$salt$hash", base64 without padding), what Werkzeug
# writes ("scrypt:131072:8:1$salt$hash", the salt as it is, the hash in hex), and bcrypt's own form.
_PASSLIB = re.compile(
    r"\$scrypt\$ln=(?P<ln>[0-9]{1,2}),r=(?P<r>[0-9]{1,3}),p=(?P<p>[0-9]{1,3})"
    r"\$(?P<salt>[A-Za-z0-9+/]{1,128})\$(?P<hash>[A-Za-z0-9+/]{22,128})"
)
_WERKZEUG = re.compile(
    r"scrypt:(?P<n>[0-9]{1,8}):(?P<r>[0-9]{1,3}):(?P<p>[0-9]{1,3})"
    r"\$(?P<salt>[A-Za-z0-9]{1,128})\$(?P<hash>(?:[0-9a-f]{2}){16,64})"
)
# The last letter of bcrypt's salt carries two bits; its other letters stand for no salt.
_BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
# OWASP advises 2^17 blocks of 8, once: 128 MiB, 0.4 s of a core here. Four times as much work and
# twice the memory may be asked for, not more: a hash is computed for whoever knocks.
_MOST_WORK = 2**22
_MOST_MEMORY = 256 * 1024 * 1024
# 2^15 rounds of bcrypt are 2.4 s of a core here.
_MOST_ROUNDS = 15
# bcrypt has never looked at more than this of a password.
_BCRYPT_BYTES = 72
_LOG_N, _R, _P = 17, 8, 1


@dataclass(frozen=True, slots=True, repr=False)
class Scrypt:
    """A hash by scrypt (RFC 7914): 2^log_n blocks of r, p times."""

    log_n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    def matches(self, password: bytes) -> bool:
        """Whether this is the password's hash; takes as long whether it is or not."""
        return hmac.compare_digest(self.digest, self._digest_of(password))

    def _digest_of(self, password: bytes) -> bytes:
        return hashlib.scrypt(
            password,
            salt=self.salt,
            n=1 << self.log_n,
            r=self.r,
            p=self.p,
            # OpenSSL wants room for a little more than what is counted here.
            maxmem=2 * _MOST_MEMORY,
            dklen=len(self.digest),
        )


@dataclass(frozen=True, slots=True, repr=False)
class Bcrypt:
    """A hash by bcrypt, as crypt(3) writes it."""

    text: bytes

    def matches(self, password: bytes) -> bool:
        """Whether this is the password's hash; takes as long whether it is or not."""
        return bcrypt.checkpw(password[:_BCRYPT_BYTES], self.text)


class Hash(Protocol):
    """The hash of a password."""

    def matches(self, password: bytes) -> bool:
        """Whether this is the password's hash; takes as long whether it is or not."""


def parse(text: str) -> Hash:
    """The hash that is written. Raises ValueError, whose words do not repeat the text."""
    if text.startswith("$2"):
        return _bcrypt(text)
    if text.startswith("scrypt:"):
        return _werkzeug(text)
    if text.startswith("$scrypt$"):
        return _passlib(text)
    # The text may be a password: it is not repeated.
    raise ValueError("not a scrypt or bcrypt hash; passwords themselves are never written here")


def make(password: str) -> str:
    """A hash of a password with a salt of its own, as `parse` reads it. Takes about 0.4 s."""
    salt = secrets.token_bytes(16)
    drawn = Scrypt(_LOG_N, _R, _P, salt, bytes(32))._digest_of(password.encode("utf-8"))
    return f"$scrypt$ln={_LOG_N},r={_R},p={_P}${_unpadded(salt)}${_unpadded(drawn)}"


def _bcrypt(text: str) -> Hash:
    found = _BCRYPT.fullmatch(text)
    if found is None:
        raise ValueError(
            "not a whole bcrypt hash: it is 60 characters, as `htpasswd -nbB` and others write it"
        )
    cost = int(found["cost"])
    if not 4 <= cost <= _MOST_ROUNDS:
        raise ValueError(f"bcrypt's cost is {cost} here; write a hash with a cost of 4 to 15")
    return Bcrypt(text.encode("ascii"))


def _passlib(text: str) -> Hash:
    found = _PASSLIB.fullmatch(text)
    if found is None:
        raise ValueError("not a whole scrypt hash; one looks like $scrypt$ln=17,r=8,p=1$SALT$HASH")
    return _scrypt(int(found["ln"]), found, _padded(found["salt"]), _padded(found["hash"]))


def _werkzeug(text: str) -> Hash:
    found = _WERKZEUG.fullmatch(text)
    if found is None:
        raise ValueError("not a whole scrypt hash; one looks like scrypt:32768:8:1$SALT$HASH")
    n = int(found["n"])
    if n.bit_count() != 1:
        raise ValueError(
            "scrypt's first number is a power of two; this hash was not made by scrypt"
        )
    salt, digest = found["salt"].encode("ascii"), bytes.fromhex(found["hash"])
    return _scrypt(n.bit_length() - 1, found, salt, digest)


def _scrypt(log_n: int, found: re.Match[str], salt: bytes, digest: bytes) -> Scrypt:
    r, p = int(found["r"]), int(found["p"])
    if not (log_n and r and p):
        raise ValueError("scrypt's numbers are 1 or more; this hash was not made by scrypt")
    if (r * p) << log_n > _MOST_WORK or (128 * r) << log_n > _MOST_MEMORY:
        raise ValueError(
            "this scrypt hash costs too much to verify; make one with ln=17,r=8,p=1"
            " (`hopward hash` does)"
        )
    return Scrypt(log_n, r, p, salt, digest)


def _padded(text: str) -> bytes:
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise ValueError("the salt or the hash is not whole base64") from None


def _unpadded(octets: bytes) -> str:
    return b64encode(octets).decode("ascii").rstrip("=")

"""Secrets in a request's target, masked before anybody can read them. Pure.

Law: rather too much is masked than too little. What a server might take for a secret's name is
one: in any case, with any of its bytes percent-encoded, behind `?`, `&` or `;`, with `[…]` behind
it; and a value goes on to the next `&`, for not every server ends it at `;`.
"""

import re
from collections.abc import Callable, Sequence
from itertools import groupby

MASK = b"***"


class Redaction:
    """Masks the values of query parameters, and what follows a prefix of the path.

    Of `secrets`, those that begin with `/` are such prefixes, wherever in the path they stand; the
    others are names of parameters.
    """

    __slots__ = ("_escaped", "_parameters", "_paths", "_plain")

    def __init__(self, secrets: Sequence[str]) -> None:
        paths = [_spelled(each) for each in secrets if each.startswith("/")]
        names = [_spelled(each) for each in secrets if not each.startswith("/")]
        self._plain = [each.encode("utf-8").lower() for each in secrets]
        self._escaped = _escape_of({byte for each in self._plain for byte in each})
        self._parameters = _any(rb"([?&;](?:%b)(?:(?:\[|%%5b)[^=&;]*+)?=)[^&]*+", names)
        self._paths = _any(rb"\A([^?]*?(?:%b))[^?]++", paths)

    def masked(self, target: bytes) -> bytes:
        """The target as it may be logged."""
        if not self._suspicious(target):
            return target
        if self._parameters is not None:
            target = self._parameters.sub(rb"\1" + MASK, target)
        if self._paths is not None:
            target = self._paths.sub(rb"\1" + MASK, target)
        return target

    def all_masked(self, targets: list[bytes]) -> list[bytes]:
        """Each as it may be logged. Of 200 together, one takes 0.1 µs instead of 1."""
        return [*map(self.masked, targets)] if self._suspicious(b" ".join(targets)) else targets

    def _suspicious(self, target: bytes) -> bool:
        """Whether there is anything to mask, perhaps: a secret's name, or an escaped byte of one.

        Most targets have neither; to look for that first takes half the time of the expressions.
        """
        lower = target.lower()
        return any(name in lower for name in self._plain) or bool(self._escaped(target))


def _escape_of(numbers: set[int]) -> Callable[[bytes], object]:
    """Finds an escape of one of these bytes. One class a first digit: three times as fast."""
    escapes = sorted(escape for number in numbers for escape in _escapes(number))
    by_first = groupby(escapes, key=lambda escape: escape[:1])
    classes = [b"%b[%b]" % (first, b"".join(each[1:] for each in all_)) for first, all_ in by_first]
    return re.compile(b"%%(?:%b)" % b"|".join(classes), re.IGNORECASE).search


def _any(pattern: bytes, spelled: list[bytes]) -> re.Pattern[bytes] | None:
    return re.compile(pattern % b"|".join(spelled), re.IGNORECASE) if spelled else None


def _spelled(text: str) -> bytes:
    """An expression for every way to write `text` in a target; upper and lower case are one."""
    return b"".join(map(_byte, text.encode("utf-8")))


def _byte(number: int) -> bytes:
    return b"(?:%b|%%(?:%b))" % (re.escape(bytes([number])), b"|".join(_escapes(number)))


def _escapes(number: int) -> set[bytes]:
    """The digits of a byte's escapes. That of the other case is another one: 6f is o, 4f is O."""
    plain = bytes([number])
    return {b"%02x" % each[0] for each in (plain.lower(), plain.upper())}

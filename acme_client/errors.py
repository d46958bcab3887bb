# ruff: noqa: N818 - an error is named by what it asks for, as the tables that sort them read
"""What can go wrong on the way to a certificate, sorted by what to do about it.

Law: every exception that leaves a room of this package is one of these, and its text is the
certificate authority's own words wherever it gave any: they are what an operator can act on.
"""

from __future__ import annotations

from datetime import datetime


class AcmeError(Exception):
    """Any failure of this package."""


class StoreError(AcmeError):
    """The store's folder cannot be used: no order is placed while that is so."""


class SettingsError(AcmeError):
    """What was asked for cannot be done by anybody: the message says what would do."""


class Stopped(AcmeError):
    """The work was told to end; what was under way is resumed at the next start."""


class IssueError(AcmeError):
    """An attempt at one certificate authority that ended without a certificate."""


class Unreachable(IssueError):
    """Nobody answered at the directory's address: nothing was asked, so asking again is cheap."""


class Retry(IssueError):
    """Something passing: a broken connection, a server error, nonces refused."""


class NotUnderstood(Retry):
    """The authority found fault with the request itself, in a way that has no error of its own."""


class RetryLater(IssueError):
    """The authority named a time before which it does not want to be asked again."""

    def __init__(self, words: str, not_before: datetime) -> None:
        super().__init__(words)
        self.not_before = not_before


class ValidationFailed(IssueError):
    """The authority looked for a challenge's answer and did not find it."""


class NotTried(ValidationFailed):
    """A challenge that could not be tried, so nothing was validated: it is not offered, or the dns
    hook failed."""


class TooManyFailed(ValidationFailed):
    """By our own limit no validation may be tried before `not_before`."""

    def __init__(self, words: str, not_before: datetime) -> None:
        super().__init__(words)
        self.not_before = not_before


class BadCertificate(IssueError):
    """What was downloaded is no usable certificate for what was ordered."""


class GiveUp(IssueError):
    """Asking again does not help until somebody changes something: a CAA record, a contact."""


class AccountGone(IssueError):
    """The authority does not know the account: its key is to be registered again."""


class AlreadyReplaced(IssueError):
    """The certificate named by `replaces` has been renewed by another order (RFC 9773 §5)."""


class OrderGone(IssueError):
    """A recorded order that cannot be resumed: invalid, expired or forgotten."""

"""Where alerts go: a webhook and a mail server.

Law: one delivery takes no longer than its deadline once a connection is asked for, whatever the
other side does, and ends well or with `DeliveryError`.

The time-outs of a socket are per read, so a server that sends a byte now and then outlives them.
A timer therefore shuts the socket when the time is over: that wakes whatever waits for it. Only a
resolver cannot be woken; the thread that delivers does nothing else, so nobody waits for it.
"""

import http.client
import json
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from functools import partial
from typing import Any, Protocol, Self
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from acme_client.times import utc_now
from acme_client.transport import tls_context

from .config import Smtp

DEADLINE = 20.0
SMTP_OVER_TLS = 465  # RFC 8314 §3.3: TLS from the first byte on
# 303 asks for another thing than the POST to be done again (RFC 9110 §15.4.4).
_REPEATABLE = (301, 302, 307, 308)


class DeliveryError(Exception):
    """A sink did not take an alert; the text says why, without the webhook's secret address."""


class Notice(Protocol):
    """What is sent."""

    @property
    def subject(self) -> str:
        """One line."""

    @property
    def body(self) -> str:
        """A few lines for people."""

    def as_json(self) -> dict[str, object]:
        """The same for programs."""


class Webhook:
    """A URL that is POSTed JSON; any 2xx is its consent."""

    def __init__(self, url: str, *, deadline: float = DEADLINE) -> None:
        self._url = url
        self._seconds = deadline

    def __call__(self, notice: Notice) -> None:
        """Deliver; raises DeliveryError."""
        request = Request(
            self._url,
            data=json.dumps(notice.as_json()).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "hopward"},
            method="POST",
        )
        with _Deadline(self._seconds) as deadline:
            try:
                opener = build_opener(_Plain(deadline), _Tls(deadline), _Redirects())
                opener.open(request, timeout=self._seconds).close()
                # A head that the timer cut off looks like one that was complete.
                deadline.check()
            except HTTPError as error:
                error.close()
                raise DeliveryError(f"the webhook answered {error.code} {error.msg}") from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise DeliveryError(f"the webhook: {deadline.in_words(error)}") from error


class _Redirects(HTTPRedirectHandler):
    """Goes on only where the alert stays with whom it was meant for: the same origin."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        target = urljoin(req.full_url, newurl)
        if code not in _REPEATABLE or _origin(target) != _origin(req.full_url):
            fp.close()
            raise URLError(f"it redirects ({code}) to another place; name the final URL")
        return Request(target, data=req.data, headers=dict(req.header_items()), method="POST")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, parts.port or default


class Mail:
    """A mail server that takes messages for the operators."""

    def __init__(
        self,
        smtp: Smtp,
        *,
        deadline: float = DEADLINE,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._smtp = smtp
        self._seconds = deadline
        self._clock = clock

    def __call__(self, notice: Notice) -> None:
        """Deliver; raises DeliveryError."""
        with _Deadline(self._seconds) as deadline:
            try:
                self._deliver(self._mail(notice), deadline)
            except smtplib.SMTPResponseException as error:
                words = bytes(error.smtp_error).decode("utf-8", "replace")  # type: ignore[arg-type]
                raise DeliveryError(f"the mail server: {error.smtp_code} {words}") from error
            except (OSError, ValueError) as error:
                raise DeliveryError(f"the mail server: {deadline.in_words(error)}") from error

    def _deliver(self, mail: EmailMessage, deadline: "_Deadline") -> None:
        smtp = self._smtp
        at_once = smtp.tls and smtp.port == SMTP_OVER_TLS
        connection = _Connection(deadline, tls_context(None) if at_once else None)
        try:
            connection.open(smtp.host, smtp.port)
            if smtp.tls and not at_once:
                # Raises where the server has no STARTTLS: never in the clear instead (RFC 8314).
                connection.starttls(context=tls_context(None))
            if smtp.user is not None:
                connection.login(smtp.user, smtp.password or "")
            connection.send_message(mail)
            with suppress(OSError):
                connection.quit()
        finally:
            connection.close()

    def _mail(self, notice: Notice) -> EmailMessage:
        mail = EmailMessage(policy=SMTP)
        mail["From"] = self._smtp.sender
        mail["To"] = ", ".join(self._smtp.to)
        mail["Subject"] = notice.subject
        mail["Date"] = format_datetime(self._clock())
        # Without a domain make_msgid would ask the resolver for this machine's.
        mail["Message-ID"] = make_msgid(domain=self._smtp.sender.rpartition("@")[2])
        # RFC 3834 §5: so that no holiday notice answers.
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(notice.body)
        return mail


class _Connection(smtplib.SMTP):
    """smtplib's client over a socket that the deadline watches."""

    def __init__(self, deadline: "_Deadline", tls: ssl.SSLContext | None) -> None:
        # A name of our own keeps smtplib from asking the resolver for one.
        super().__init__(local_hostname=socket.gethostname() or "localhost")
        self._deadline, self._tls = deadline, tls

    def open(self, host: str, port: int) -> None:
        """Connect and read the greeting."""
        self._host = host  # the name that STARTTLS verifies
        code, words = self.connect(host, port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, words)

    def _get_socket(self, host: str, port: int, timeout: object) -> socket.socket:
        plain = self._deadline.connect((host, port))
        return plain if self._tls is None else self._tls.wrap_socket(plain, server_hostname=host)


class _Deadline:
    """A time after which every socket that was connected through it is shut."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._watched: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            while self._watched:
                self._watched.pop().close()

    def connect(
        self, address: tuple[str, int], _timeout: object = None, _source: object = None
    ) -> socket.socket:
        """`socket.create_connection`, within what time is left."""
        self.check()
        left = max(0.01, self._end - time.monotonic())
        connected = socket.create_connection(address, timeout=left)
        with self._lock:
            # A second descriptor: TLS takes the first one's object away.
            self._watched.append(connected.dup())
        return connected

    def check(self) -> None:
        """Raise TimeoutError when the time is over."""
        if time.monotonic() >= self._end:
            raise TimeoutError

    def in_words(self, error: Exception) -> str:
        """What went wrong, for a log's reader."""
        if time.monotonic() >= self._end:
            return f"no complete answer within {self._seconds:g} s"
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {reason.verify_message}"
        if isinstance(reason, smtplib.SMTPRecipientsRefused):
            return f"it refused every recipient: {', '.join(reason.recipients)}"
        return str(getattr(reason, "strerror", None) or reason) or type(reason).__name__

    def _cut(self) -> None:
        with self._lock:
            for each in self._watched:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


class _Plain(HTTPHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: Request) -> http.client.HTTPResponse:
        made = partial(_watched, self._deadline, http.client.HTTPConnection)
        return self.do_open(made, req)


class _Tls(HTTPSHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def https_open(self, req: Request) -> http.client.HTTPResponse:
        made = partial(_watched, self._deadline, http.client.HTTPSConnection)
        return self.do_open(made, req, context=tls_context(None))


def _watched(
    deadline: _Deadline, kind: type[http.client.HTTPConnection], host: str, **options: Any
) -> http.client.HTTPConnection:
    connection = kind(host, **options)
    # Below TLS and a forward proxy's CONNECT, so that these are watched too.
    connection._create_connection = deadline.connect  # type: ignore[attr-defined]
    return connection

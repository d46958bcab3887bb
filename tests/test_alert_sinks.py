"""Where alerts go: a webhook and a mail server, both real, and each of their bad days."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from acme_client.attempt import Event
from acme_client.store import Store
from proxy import config
from proxy.alert_sinks import DeliveryError, Mail, Webhook
from proxy.alerts import (
    IN_DANGER,
    Alerts,
    Condition,
    compose,
)
from proxy.log import Log
from tests.authority import Authority
from tests.programs import free_port, wait_for

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOST = "api.example.com"
MESSAGE = compose(HOST, Condition(True, NOW + timedelta(days=4.2), "no answer"), NOW)


# ---- to a webhook


class Received:
    """What an HTTP sink got, and how it answers: by path."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.answers: dict[str, tuple[int, dict[str, str]]] = {}
        self.drips = threading.Event()
        self.over = threading.Event()


@pytest.fixture
def received() -> Iterator[tuple[Received, str]]:
    seen = Received()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fields = {name.lower(): value for name, value in self.headers.items()}
            seen.requests.append((self.command, self.path, fields, json.loads(body)))
            if seen.drips.is_set():
                return self._drip()
            status, more = seen.answers.get(self.path, (204, {}))
            self.send_response(status)
            for name, value in {"Content-Length": "0", **more}.items():
                self.send_header(name, value)
            self.end_headers()
            return None

        def _drip(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not seen.over.wait(0.05):
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return

        def do_GET(self) -> None:
            seen.requests.append((self.command, self.path, {}, None))
            self.send_error(405)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Not on a test's stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield seen, f"http://127.0.0.1:{server.server_address[1]}"
        seen.over.set()
        server.shutdown()
        thread.join()


def test_a_webhook_is_posted_json(received: tuple[Received, str]) -> None:
    seen, url = received
    Webhook(f"{url}/hook?key=1")(MESSAGE)
    ((method, path, fields, body),) = seen.requests
    assert (method, path) == ("POST", "/hook?key=1")
    assert fields["content-type"] == "application/json"
    assert body == MESSAGE.as_json()


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
def test_a_webhook_that_answers_an_error_has_not_taken_the_alert(
    received: tuple[Received, str], status: int
) -> None:
    seen, url = received
    seen.answers["/hook"] = (status, {})
    with pytest.raises(DeliveryError, match=f"answered {status}"):
        Webhook(f"{url}/hook")(MESSAGE)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_on_the_same_host_is_followed_with_the_alert(
    received: tuple[Received, str], status: int
) -> None:
    seen, url = received
    seen.answers["/hook"] = (status, {"Location": "/hook/"})
    Webhook(f"{url}/hook")(MESSAGE)
    assert [request[:2] for request in seen.requests] == [("POST", "/hook"), ("POST", "/hook/")]
    assert seen.requests[1][3] == MESSAGE.as_json()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_takes_an_alert_to_another_host(
    received: tuple[Received, str], status: int
) -> None:
    seen, url = received
    seen.answers["/hook"] = (status, {"Location": url.replace("127.0.0.1", "localhost") + "/x"})
    with pytest.raises(DeliveryError, match="to another place"):
        Webhook(f"{url}/hook")(MESSAGE)
    assert len(seen.requests) == 1


def test_a_redirect_to_something_else_is_no_consent(received: tuple[Received, str]) -> None:
    seen, url = received
    seen.answers["/hook"] = (303, {"Location": "/seen"})
    with pytest.raises(DeliveryError, match="303"):
        Webhook(f"{url}/hook")(MESSAGE)


def test_redirects_in_a_circle_end(received: tuple[Received, str]) -> None:
    seen, url = received
    seen.answers["/hook"] = (307, {"Location": "/hook"})
    with pytest.raises(DeliveryError):
        Webhook(f"{url}/hook")(MESSAGE)


def test_a_webhook_that_drips_is_given_up_at_the_deadline(received: tuple[Received, str]) -> None:
    seen, url = received
    seen.drips.set()
    with pytest.raises(DeliveryError, match=r"no complete answer within 0\.3 s"):
        Webhook(f"{url}/hook", deadline=0.3)(MESSAGE)


def test_a_webhook_nobody_answers_at_fails_without_telling_its_secret_path() -> None:
    with pytest.raises(DeliveryError, match="refused") as caught:
        Webhook(f"http://127.0.0.1:{free_port()}/secret")(MESSAGE)
    assert "secret" not in str(caught.value)


# ---- to a mail server


class Mailbox:
    """A mail server's messages, as aiosmtpd hands them over."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage, bool]] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.refused: set[str] = set()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        content = message_from_bytes(cast(bytes, envelope.content), policy=policy.default)
        assert isinstance(content, EmailMessage)
        self.mails.append((envelope.rcpt_tos, content, session.ssl is not None))
        return "250 OK"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: Any
    ) -> AuthResult:
        assert isinstance(login, LoginPassword)
        self.logins.append((login.login, login.password))
        return AuthResult(success=login.password == b"right", handled=False)


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


class PostOffice:
    """Starts mail servers that put into one mailbox."""

    def __init__(self, mailbox: Mailbox, authority: Authority) -> None:
        self._mailbox, self._authority = mailbox, authority
        self._open: list[Controller] = []

    def open(self, **options: Any) -> int:
        server = Controller(self._mailbox, hostname="127.0.0.1", port=free_port(), **options)
        server.start()
        self._open.append(server)
        return int(server.port)

    def tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._authority.pair("127.0.0.1"))
        return context

    def close(self) -> None:
        for server in self._open:
            server.stop()


@pytest.fixture
def post(mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostOffice]:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
    office = PostOffice(mailbox, authority)
    yield office
    office.close()


def smtp(port: int, **more: Any) -> config.Smtp:
    return config.Smtp.model_validate(
        {"host": "127.0.0.1", "port": port, "from": "hopward@example.com",
         "to": ["ops@example.com", "boss@example.com"], **more}
    )  # fmt: skip


def test_mail_comes_with_a_subject_and_what_to_do(post: PostOffice, mailbox: Mailbox) -> None:
    Mail(smtp(post.open(), tls=False))(MESSAGE)
    ((recipients, mail, _),) = mailbox.mails
    assert recipients == ["ops@example.com", "boss@example.com"]
    assert mail["Subject"] == "api.example.com: certificate in danger, 4.2 days left"
    assert mail["From"] == "hopward@example.com"
    assert mail.get_content().replace("\r\n", "\n") == MESSAGE.body


def test_whatever_an_authority_says_can_be_mailed(post: PostOffice, mailbox: Mailbox) -> None:
    words = "\ud800 über\r\n.\r\nQUIT"
    Mail(smtp(post.open(), tls=False))(compose(HOST, Condition(True, NOW, words), NOW))
    assert "? über . QUIT" in mailbox.mails[0][1].get_content()


def test_no_automatic_answer_is_asked_for(post: PostOffice, mailbox: Mailbox) -> None:
    Mail(smtp(post.open(), tls=False))(MESSAGE)
    assert mailbox.mails[0][1]["Auto-Submitted"] == "auto-generated"


def test_mail_is_encrypted_by_starttls_before_anybody_logs_in(
    post: PostOffice, mailbox: Mailbox
) -> None:
    port = post.open(
        tls_context=post.tls(),
        require_starttls=True,
        authenticator=mailbox.authenticate,
        auth_required=True,
    )
    Mail(smtp(port, user="hopward", password="right"))(MESSAGE)
    assert mailbox.logins == [(b"hopward", b"right")]
    assert [encrypted for _, _, encrypted in mailbox.mails] == [True]


def test_mail_on_the_port_for_it_is_encrypted_from_the_first_byte(
    post: PostOffice, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = post.open(ssl_context=post.tls())
    monkeypatch.setattr("proxy.alert_sinks.SMTP_OVER_TLS", port)
    Mail(smtp(port))(MESSAGE)
    assert len(mailbox.mails) == 1


def test_mail_is_never_sent_in_the_clear_where_tls_is_wanted(
    post: PostOffice, mailbox: Mailbox
) -> None:
    with pytest.raises(DeliveryError, match="STARTTLS"):
        Mail(smtp(post.open(), user="hopward", password="right"))(MESSAGE)
    assert (mailbox.mails, mailbox.logins) == ([], [])


def test_a_mail_server_that_nobody_vouches_for_gets_nothing(
    post: PostOffice, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = post.open(tls_context=post.tls())
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(DeliveryError, match="is not trusted"):
        Mail(smtp(port, user="hopward", password="right"))(MESSAGE)
    assert (mailbox.mails, mailbox.logins) == ([], [])


def test_a_wrong_password_is_told_in_the_servers_words(post: PostOffice, mailbox: Mailbox) -> None:
    port = post.open(tls_context=post.tls(), authenticator=mailbox.authenticate)
    with pytest.raises(DeliveryError, match="535"):
        Mail(smtp(port, user="hopward", password="wrong"))(MESSAGE)


def test_one_recipient_who_is_refused_keeps_no_other_from_reading(
    post: PostOffice, mailbox: Mailbox
) -> None:
    mailbox.refused = {"boss@example.com"}
    Mail(smtp(post.open(), tls=False))(MESSAGE)
    assert mailbox.mails[0][0] == ["ops@example.com"]


def test_mail_that_no_recipient_may_have_is_not_delivered(
    post: PostOffice, mailbox: Mailbox
) -> None:
    mailbox.refused = {"ops@example.com", "boss@example.com"}
    with pytest.raises(DeliveryError, match="refused every recipient"):
        Mail(smtp(post.open(), tls=False))(MESSAGE)


def test_a_mail_server_that_says_nothing_is_given_up_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(DeliveryError, match=r"no complete answer within 0\.3 s"):
            Mail(smtp(port, tls=False), deadline=0.3)(MESSAGE)


# ---- as configured


def test_alerts_go_wherever_the_configuration_says(
    received: tuple[Received, str], post: PostOffice, mailbox: Mailbox, tmp_path: Path
) -> None:
    seen, url = received
    wanted: Mapping[str, object] = {"webhook": f"{url}/hook", "smtp": smtp(post.open(), tls=False)}
    alerts = Alerts.configured(config.Alerts.model_validate(wanted), tmp_path, Log("error"))
    alerts.follow(Store(tmp_path), [HOST])
    alerts.start()
    alerts.tell(Event.DANGER, HOST, {"error": "it fails", "not_after": None})
    wait_for(lambda: seen.requests and mailbox.mails)
    alerts.close(30)
    assert seen.requests[0][3]["event"] == IN_DANGER
    assert len(mailbox.mails) == 1


def test_without_a_sink_there_is_nobody_to_tell_and_nothing_to_do(tmp_path: Path) -> None:
    alerts = Alerts.configured(config.Alerts(), tmp_path, Log("error"))
    alerts.start()
    alerts.tell(Event.DANGER, HOST, {"error": "it fails", "not_after": None})
    alerts.close()
    assert list(tmp_path.iterdir()) == []

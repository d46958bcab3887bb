"""The sections on certificates: the operator's own, those had automatically, and alerts on them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from .section import Section, key
from .values import (
    FilePath,
    HmacKey,
    HttpsUrl,
    MailAddress,
    Port,
    Switch,
    Text,
    WebUrl,
    at_least_one,
    listed,
)


class CertificateFiles(Section):
    """A certificate of the operator's own."""

    cert: FilePath = Field(description="PEM: the site's certificate first, then its chain.")
    key: FilePath = Field(description="PEM: the certificate's private key, without a passphrase.")


class Eab(Section):
    """What a certificate authority gave to bind the account to a customer (RFC 8555 §7.3.4)."""

    key_id: Text = Field(description="The key's identifier.")
    hmac_key: HmacKey = Field(description="The key, in base64url.", repr=False)


EAB = Eab


class ValidationPorts(Section):
    """Where the certificate authority connects to; for authorities under test."""

    http: Port = key("80", "For http-01.")
    tls: Port = key("443", "For tls-alpn-01.")


class Acme(Section):
    """How certificates are had automatically."""

    directory: HttpsUrl = key(
        "https://acme-v02.api.letsencrypt.org/directory", "The authority's directory."
    )
    email: MailAddress | None = key(None, "An address for the account; not needed.")
    ca_bundle: FilePath | None = key(None, "A PEM file that signs a private directory.")
    challenges: Annotated[
        tuple[Literal["tls-alpn-01", "http-01"], ...],
        AfterValidator(at_least_one),
        BeforeValidator(listed),
    ] = key(("tls-alpn-01", "http-01"), "How control of a name is shown, in order.")
    dns_hook: Annotated[tuple[Text, ...], BeforeValidator(listed)] = key(
        (), "A program, with arguments, that sets TXT records: for wildcards, by dns-01."
    )
    profile: Text | None = key(None, "A certificate profile, such as shortlived.")
    key_type: Literal["ecdsa-p256", "ecdsa-p384", "rsa-2048"] = key(
        "ecdsa-p256", "What key a certificate gets."
    )
    eab: Eab | None = key(None, "External account binding: {key_id, hmac_key}.")
    fallback: Annotated[tuple[HttpsUrl, ...], BeforeValidator(listed)] = key(
        (), "Further directories, tried in order when the first fails."
    )
    validation_ports: ValidationPorts = Field(
        default_factory=ValidationPorts,
        description="Only documents what the authority connects to.",
    )


class Smtp(Section):
    """A mail server and who writes to whom."""

    host: Text = Field(description="The mail server's name.")
    port: Port = key("587", "Its port.")
    user: Text | None = key(None, "Who logs in; null: nobody.")
    password: Text | None = Field(None, description="With what.", repr=False)
    sender: MailAddress = Field(alias="from", description="The sender's address.")
    to: Annotated[
        tuple[MailAddress, ...], AfterValidator(at_least_one), BeforeValidator(listed)
    ] = Field(description="One or a list of addresses.")
    tls: Switch = key("true", "Encrypted: from the start on port 465, by STARTTLS elsewhere.")


class Alerts(Section):
    """Who is told when a certificate is in danger, and when it is well again."""

    webhook: WebUrl | None = key(None, "A URL that is POSTed JSON.")
    smtp: Smtp | None = key(None, "Mail.")

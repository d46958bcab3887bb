"""The account at an authority: made once, kept in `acme.json` by directory.

Law: the caller holds the store's lock, so there is one account per directory; and its key is on
the disk before the authority hears of it, so an answer that gets lost makes no second account
(RFC 8555 §7.3.1: the same key gets the same account).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from acme.messages import Directory, ExternalAccountBinding
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from josepy import errors as josepy_errors
from josepy.jwk import JWK, JWKEC

from .errors import GiveUp, IssueError, Retry
from .network import Network
from .settings import Settings
from .store import Store

_Entry = dict[str, Any]


def sign_in(network: Network, store: Store, settings: Settings) -> None:
    """Give `network` its key and account; register where there is none.

    Raises IssueError, StoreError.
    """
    entry = _entry(store, network.directory_url)
    network.key = _key(entry)
    if network.key is None:
        network.key = _make_key()
        entry = {"key": network.key.to_json()}
        _save(store, network.directory_url, entry)
    uri = entry.get("uri")
    network.account = uri if isinstance(uri, str) and uri else None
    if network.account is None:
        register(network, store, settings)
    elif entry.get("contact") != _contact(settings):
        _change_contact(network, store, settings, entry)


def register(network: Network, store: Store, settings: Settings) -> None:
    """Register the key that `network` has, again if need be (RFC 8555 §7.3)."""
    network.account = None
    payload: dict[str, Any] = {"termsOfServiceAgreed": True}
    if contact := _contact(settings):
        payload["contact"] = contact
    if binding := _binding(network, settings):
        payload["externalAccountBinding"] = binding
    answer = network.post(network.resources["newAccount"], payload)
    uri = answer.fields.get("location")
    if not uri:
        raise Retry("the authority made an account and did not say where")
    network.account = uri
    entry = {**_entry(store, network.directory_url), "uri": uri, "contact": contact}
    _save(store, network.directory_url, entry)


def _contact(settings: Settings) -> list[str]:
    return [f"mailto:{settings.email}"] if settings.email else []


def _binding(network: Network, settings: Settings) -> dict[str, Any] | None:
    """The external account binding (RFC 8555 §7.3.4) where the authority wants one."""
    primary = network.directory_url == settings.directory
    if settings.eab is None or not primary:
        if network.meta("externalAccountRequired") is True:
            raise GiveUp(f"{network.directory_url} wants `eab`: a key id and an HMAC key")
        return None
    if network.key is None:
        raise RuntimeError("no account key yet")
    try:
        return ExternalAccountBinding.from_data(
            network.key.public_key(),
            settings.eab.key_id,
            settings.eab.hmac_key,
            Directory(network.resources),
        )
    except (ValueError, TypeError, josepy_errors.Error) as error:
        raise GiveUp(f"the HMAC key of `eab` is no base64url: {error}") from error


def _change_contact(network: Network, store: Store, settings: Settings, entry: _Entry) -> None:
    """Tell the authority of another address; that it cannot be told now must stop nothing."""
    contact = _contact(settings)
    with suppress(IssueError):
        network.post(str(network.account), {"contact": contact})
        _save(store, network.directory_url, {**entry, "contact": contact})


def _make_key() -> JWK:
    return JWKEC(key=ec.generate_private_key(ec.SECP256R1()))


def _key(entry: _Entry) -> JWK | None:
    try:
        key = JWK.from_json(entry["key"])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    except (josepy_errors.Error, UnsupportedAlgorithm):
        return None
    if isinstance(key, JWK) and hasattr(key.key, "private_numbers"):
        return key
    return None


def _entry(store: Store, directory: str) -> _Entry:
    entry = store.accounts().get(directory)
    return entry if isinstance(entry, dict) else {}


def _save(store: Store, directory: str, entry: _Entry) -> None:
    store.save_accounts({**store.accounts(), directory: entry})

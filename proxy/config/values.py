"""The kinds of value that stand beside a key: how each is read, and how an editor may check it.

Law: every reader takes text, as it stands in a file, or a value that is already what the key
means, so that a `Config` can be built in Python too. Numbers and switches are text until a key
wants them: so `X-Version: 1.10` stays `1.10`, and nothing that YAML 1.1 would guess is guessed.
"""

import re
from collections.abc import Callable, Mapping, Sized
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainValidator, ValidationInfo, WithJsonSchema

from .. import passwords
from . import units
from .units import Address, Network, UnixPath

# Connection and its like are rebuilt for each hop (RFC 9110 §7.6.1); lengths follow the body.
_OWNED_FIELDS = frozenset({
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
    "upgrade", "content-length",
})  # fmt: skip
# NUL and the surrogates, but for those by which Python carries bytes of the environment that are
# no UTF-8 (PEP 383).
_NO_TEXT = re.compile(r"[\0\ud800-\udc7f\udd00-\udfff]")


def _reads(wanted: str, parse: Callable[[str], object], *kinds: type) -> PlainValidator:
    def read(written: object) -> object:
        if isinstance(written, str):
            return parse(written)
        # Exactly these: True is an int to isinstance, but not to an operator.
        if type(written) in kinds:
            return written
        raise ValueError(f"{kind_of(written)} stands here; write {wanted}")

    return PlainValidator(read)


def kind_of(written: object) -> str:
    """What the operator sees in the file."""
    names = {str: "text", list: "a list", tuple: "a list", dict: "a mapping", NoneType: "nothing"}
    return names.get(type(written), "something else")


def _or_off(parse: Callable[[str], object]) -> Callable[[str], object]:
    def parse_unless_off(text: str) -> object:
        if units.is_off(text):
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise ValueError(f"{error}, or off") from None

    return parse_unless_off


def _matches(pattern: str, *others: dict[str, Any]) -> WithJsonSchema:
    # What the environment will say, an editor cannot know.
    text = {"type": "string", "pattern": rf"^({pattern})$|\$\{{"}
    return WithJsonSchema({"anyOf": [text, *others]} if others else text)


_OFF = {"enum": [False, None]}
_ANY_TEXT = WithJsonSchema({"type": "string"})
_NUMBER = {"type": "integer", "minimum": 0}

Duration = Annotated[
    float,
    _reads("a duration such as 10s", units.duration, int, float),
    _matches(units.DURATION_PATTERN),
]
Timeout = Annotated[
    float | None,
    _reads("a duration such as 10s, or off", _or_off(units.duration), int, float, NoneType),
    _matches(f"{units.DURATION_PATTERN}|off", _OFF),
]
Patience = Annotated[
    float | None,
    _reads(
        "a duration such as 10s, or off",
        _or_off(lambda text: units.duration(text, zero=True)),
        *(int, float, NoneType),
    ),
    _matches(f"{units.DURATION_PATTERN}|off", _OFF),
]
Size = Annotated[int, _reads("a size such as 32KiB", units.size, int), _matches(units.SIZE_PATTERN)]
SizeOrOff = Annotated[
    int | None,
    _reads("a size such as 10MiB, or off", _or_off(units.size), int, NoneType),
    _matches(f"{units.SIZE_PATTERN}|off", _OFF),
]
Count = Annotated[
    int,
    _reads("a whole number", lambda text: units.whole_number(text, 1), int),
    _matches("[0-9]+", _NUMBER),
]
CountOrOff = Annotated[
    int | None,
    _reads(
        "a whole number, or off", _or_off(lambda text: units.whole_number(text, 1)), int, NoneType
    ),
    _matches("[0-9]+|off", _NUMBER, _OFF),
]
Workers = Annotated[
    int | Literal["auto"],
    _reads(
        "a whole number, or auto",
        lambda text: text if text == "auto" else _workers(text),
        int,
    ),
    _matches("[0-9]+|auto", _NUMBER),
]
Port = Annotated[int, _reads("a port", units.port, int), _matches("[0-9]+", _NUMBER)]
Switch = Annotated[
    bool, _reads("true or false", units.switch, bool), _matches("true|false", {"type": "boolean"})
]
Hsts = Annotated[
    int | None,
    _reads("true, off or a max-age in seconds", lambda text: _max_age(text), int, NoneType),
    _matches(f"{units.DURATION_PATTERN}|[0-9]+|off|true", _NUMBER, {"enum": [True, False, None]}),
]
Text = Annotated[
    str,
    _reads("text", lambda text: _text(text)),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
MailAddress = Annotated[str, _reads("a mail address", lambda text: _mail(text)), _ANY_TEXT]
HttpsUrl = Annotated[
    str, _reads("an https URL", lambda text: units.web_url(text, "https")), _matches("https://.+")
]
WebUrl = Annotated[
    str,
    _reads("a URL", lambda text: units.web_url(text, "https", "http")),
    _matches("https?://.+"),
]
Cidr = Annotated[
    Network,
    _reads("a network such as 10.0.0.0/8", units.network, *Network.__args__),
    _ANY_TEXT,
]
ListenAddress = Annotated[
    Address,
    _reads("an address and a port such as [::]:443", units.listen_address, Address),
    _matches(r"(\[.*\]|[0-9.]+):[0-9]+"),
]
HostName = Annotated[str, _reads("a host name", units.host_name), _ANY_TEXT]
PathPrefix = Annotated[str, _reads("a path", units.path_prefix), _ANY_TEXT]
FieldValue = Annotated[
    str | None,
    _reads("text, or null to remove the field", units.field_value, NoneType),
    WithJsonSchema({"type": ["string", "number", "boolean", "null"]}),
]
HmacKey = Annotated[str, _reads("base64url", lambda text: _base64url(text)), _ANY_TEXT]
UserName = Annotated[str, _reads("a user", lambda text: _user(text)), _ANY_TEXT]
PasswordHash = Annotated[str, _reads("a hash", lambda text: _hash(text)), _ANY_TEXT]


def _workers(text: str) -> int:
    try:
        return units.whole_number(text, 1, 1024)
    except ValueError as error:
        raise ValueError(f"{error}, or auto") from None


def _max_age(text: str) -> int | None:
    if text == "true":
        return 365 * 24 * 3600
    if units.is_off(text):
        return None
    if text.isdecimal():
        return units.whole_number(text, 0)
    try:
        return int(units.duration(text))
    except ValueError:
        raise ValueError(
            f"{units.shown(text)} is not a max-age; write true (a year), off or seconds"
        ) from None


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("empty text stands here; write a value or leave the key out")
    if found := _NO_TEXT.search(text):
        raise ValueError(
            f"U+{ord(found[0]):04X} stands here, which no text and no file's name has; remove it"
        )
    return text


def _mail(text: str) -> str:
    if not all(text.partition("@")) or not text.isprintable() or " " in text:
        raise ValueError(f"{units.shown(text)} is not a mail address; write it as ops@example.com")
    return text


def _base64url(text: str) -> str:
    # Some authorities hand out the other alphabet, or padding: `acme` reads them as well.
    digits = re.fullmatch(r"([A-Za-z0-9_+/-]+)={0,2}", text)
    if digits is None or len(digits[1]) % 4 == 1:
        # Not shown: it is a secret.
        raise ValueError("not base64url (letters, digits, '-' and '_'); write it as it was given")
    return text


def _user(text: str) -> str:
    if not text or ":" in text or not text.isprintable():
        raise ValueError(f"{units.shown(text)} is not a user; a name without ':' is one")
    return text


def _hash(text: str) -> str:
    passwords.parse(text)
    return text


def located(path: Path | str, folder: object) -> Path:
    """A path as the file means it: relative to the file's own folder."""
    return Path(folder, path) if isinstance(folder, Path) else Path(path)


def folder_of(info: ValidationInfo) -> object:
    """The folder of the file that is being read, if one is."""
    return (info.context or {}).get("folder")


def _read_path(written: object, info: ValidationInfo) -> Path:
    if isinstance(written, Path):
        return written
    if not isinstance(written, str):
        raise ValueError(f"{kind_of(written)} stands here; write a path")
    return located(_text(written), folder_of(info))


def _read_admin(written: object, info: ValidationInfo) -> Address | UnixPath | None:
    if written is None or isinstance(written, Address | UnixPath):
        return written
    if not isinstance(written, str):
        raise ValueError(f"{kind_of(written)} stands here; write one address, unix:PATH or false")
    if units.is_off(written):
        return None
    if written.startswith("unix:"):
        return UnixPath(located(units.unix_path(written).path, folder_of(info)))
    return units.listen_address(written)


def _read_log_target(written: object, info: ValidationInfo) -> str | Path:
    return written if written in ("stdout", "stderr") else _read_path(written, info)


FilePath = Annotated[Path, PlainValidator(_read_path), _ANY_TEXT]
AdminAddress = Annotated[
    Address | UnixPath | None, PlainValidator(_read_admin), _matches(".+:.+|off", _OFF)
]
LogTarget = Annotated[str | Path, PlainValidator(_read_log_target), _ANY_TEXT]


def listed(written: object) -> object:
    """One value as a list of one; nothing as an empty list."""
    if written is None:
        return ()
    return written if isinstance(written, list | tuple) else (written,)


def mapped(written: object) -> object:
    """Nothing as an empty mapping, so that a section's last key can be commented out."""
    return {} if written is None else written


def without_off(written: object) -> object:
    """None for `off`."""
    return None if isinstance(written, str) and units.is_off(written) else written


def at_least_one(values: Sized) -> Sized:
    """The values, unless there are none."""
    if not values:
        raise ValueError("no entry stands here; write at least one")
    return values


def _field_set_by_operator(name: str) -> str:
    units.field_name(name)
    if name.lower() in _OWNED_FIELDS:
        raise ValueError(f"{units.shown(name)} belongs to the proxy itself and cannot be set")
    return name


def _request_field(name: str) -> str:
    if name.lower() == "host":
        raise ValueError("'Host' is not set here; write 'host_header: preserve' or 'upstream'")
    return _field_set_by_operator(name)


RequestFields = Annotated[
    Mapping[Annotated[str, AfterValidator(_request_field)], FieldValue], BeforeValidator(mapped)
]
ResponseFields = Annotated[
    Mapping[Annotated[str, AfterValidator(_field_set_by_operator)], FieldValue],
    BeforeValidator(mapped),
]

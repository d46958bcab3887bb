"""What every section of the configuration is: known keys, each with a default and a description.

Law: nothing an operator writes is passed over in silence; an unknown key is refused with advice.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .values import kind_of, mapped


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """Stands in the place of an unknown key's value, and says what would be right."""

    advice: str


def key(default: object, description: str) -> Any:
    return Field(default, description=description, validate_default=True)


class Section(BaseModel):
    """A mapping of known keys; when all of them are commented out, the defaults hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    also_known: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_keys(cls, written: object) -> object:
        written = cls._in_full(written)
        if isinstance(written, cls):
            return written
        if not isinstance(written, dict):
            raise ValueError(f"{kind_of(written)} stands here; write 'key: value' lines")
        known = cls.written_keys()
        return {
            key: value if key in known else UnknownKey(cls._advice(str(key), known))
            for key, value in written.items()
        }

    @classmethod
    def _in_full(cls, written: object) -> object:
        return mapped(written)

    @classmethod
    @cache
    def written_keys(cls) -> tuple[str, ...]:
        """The keys as an operator writes them."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    @classmethod
    def _advice(cls, key: str, known: tuple[str, ...]) -> str:
        if key in cls.also_known:
            return cls.also_known[key]
        near = difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1)
        return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"

"""The one base of every noun, and the one canonical form that digests are taken over.

Canonical form is RFC 8785 (JSON Canonicalization Scheme) for a narrow profile: objects with string keys, arrays,
strings, booleans, null and integers below 2**53. Floats are refused: two programs print them differently, so a number
that has a fraction travels as text. Inside this profile the standard library's encoder and RFC 8785 give the same
bytes; a test compares the two on generated values.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""`sha256:` and 64 hexadecimal digits."""

Json = Any
"""What `canonical` accepts: the JSON profile described above. Checked at run time, at the one place that matters."""

_LARGEST = 2**53 - 1
_SURROGATE = re.compile("[\ud800-\udfff]")
_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
)


class NotCanonicalError(ValueError):
    """The value is outside the profile: a float, a key that is no text, an integer of 2**53 or more, a lone surrogate."""


def _check(value: Json, where: str) -> None:  # noqa: C901 - one branch per kind of JSON value
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise NotCanonicalError(f"{where}: text with a lone surrogate has no UTF-8 form")
        return
    if isinstance(value, int):
        if abs(value) > _LARGEST:
            raise NotCanonicalError(f"{where}: integer {value} is beyond 2**53 - 1; carry it as text")
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise NotCanonicalError(f"{where}: key {key!r} is not text")
            if not key.isascii():
                raise NotCanonicalError(f"{where}: key {key!r} is not ASCII; sorting would differ between languages")
            _check(inner, f"{where}.{key}")
        return
    if isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            _check(inner, f"{where}[{position}]")
        return
    raise NotCanonicalError(f"{where}: {type(value).__name__} has no canonical form; use text, integer, list or object")


def _plain(value: Json) -> bool:  # noqa: PLR0911 - one answer per kind of JSON value
    """Whether it is inside the profile for certain. What is not plain is looked at again by `_check`, which says where.

    Text inside an object is looked at on the spot: almost everything in an entry is that, and each append comes here.
    """
    kind = type(value)
    if kind is dict:
        for key, inner in value.items():
            if type(key) is not str or not key.isascii():
                return False
            if not (inner.isascii() if type(inner) is str else inner is None) and not _plain(inner):
                return False
        return True
    if kind is str:
        return value.isascii() or _SURROGATE.search(value) is None
    if kind is list:
        return all(map(_plain, value))
    if kind is int:
        return -_LARGEST <= value <= _LARGEST  # type: ignore[no-any-return]
    return value is None or kind is bool


def _inside_the_profile(value: Json) -> Json:
    try:
        if not _plain(value):
            _check(value, "inside it")
    except NotCanonicalError as problem:
        within = f" ({problem})" if isinstance(value, dict | list) else ""
        raise ValueError(
            f"text, a whole number, true or false, a list or an object; else as text in quotes{within}"
        ) from None
    return value


PlainJson = Annotated[Json, AfterValidator(_inside_the_profile)]
"""JSON that was checked when it was read, so that a person's file is named, and not found out when it is digested."""


def canonical(value: Json) -> bytes:
    """The canonical UTF-8 bytes of a JSON value; raises `NotCanonicalError` outside the profile."""
    if not _plain(value):
        _check(value, "value")
    return _ENCODER.encode(value).encode()


def digest_of(data: bytes) -> Digest:
    """SHA-256 of the bytes as they are, in the form `sha256:…`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def short(digest: str) -> str:
    """The first twelve hexadecimal digits, for a person's eyes; never for comparison."""
    return digest.removeprefix("sha256:")[:12]


_STORED = "stored value"
"""Mark of a value that was read from bytes. It is no field: equality, hash and dumps do not see it."""
_DIGEST = "known digest"
"""Another such mark: the digest, once it was computed. A noun is frozen, and the digest of a whole policy takes time."""


class Value(BaseModel):
    """A frozen noun: equal by content, refuses unknown fields, has one canonical form and one digest.

    What was read from bytes keeps the digest of those bytes, also where a later version of this noun has more fields:
    a field that was not there then is left out again, here and in everything inside.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def as_json(self) -> dict[str, Json]:
        """Plain JSON data, as stored and as signed."""
        return self.model_dump(mode="json")

    def canonical(self) -> bytes:
        """Canonical bytes of the whole value; of one that was read, the bytes that were read."""
        return canonical(self.model_dump(mode="json", exclude_unset=_STORED in self.__dict__))

    def digest(self) -> Digest:
        """Digest of the canonical bytes."""
        if _DIGEST not in self.__dict__:
            self.__dict__[_DIGEST] = digest_of(self.canonical())
        known: Digest = self.__dict__[_DIGEST]
        return known

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The value whose canonical or plain JSON these bytes are; pydantic raises on anything else."""
        value = cls.model_validate_json(data)
        _mark_stored(value)
        return value

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy; one that is changed is a new value and has a digest of its own."""
        copied = super().model_copy(update=update, deep=deep)
        if update:
            for mark in (_STORED, _DIGEST):
                copied.__dict__.pop(mark, None)
        return copied


def _mark_stored(value: object) -> None:
    """Mark a value and all values inside it as read from bytes."""
    if isinstance(value, Value):
        inner = list(value.__dict__.values())
        value.__dict__[_STORED] = True
    elif isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, list | tuple):
        inner = list(value)
    else:
        return
    for one in inner:
        _mark_stored(one)

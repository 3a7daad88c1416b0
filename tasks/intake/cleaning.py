"""Foreign words made harmless: short names in plain letters, times as instants, text bounded. Pure."""

import hashlib
import re
from datetime import UTC, datetime, timedelta

import orjson

from runbooks.domain.instants import Instant, instant_from, moment
from runbooks.domain.value import Digest, Json

LONGEST_TEXT = 20_000
LONGEST_LABEL = 80
MOST_LABELS = 32
_OTHER = re.compile(r"[^a-z0-9._:/-]+")
_NAME_OTHER = re.compile(r"[^a-z0-9._-]+")
_EDGES = "._:/-"
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


def word(value: Json, longest: int = LONGEST_LABEL, other: re.Pattern[str] = _OTHER) -> str | None:
    """Lower case, plain letters; every other run of characters becomes `-`. None where nothing is left."""
    if value is None or isinstance(value, bool | dict | list):
        return None
    cleaned = other.sub("-", str(value)[: 4 * longest].lower()).strip(_EDGES)[:longest].rstrip(_EDGES)
    return cleaned or None


def name(value: Json) -> str | None:
    """As `word`, in the form of a name of the inventory."""
    return word(value, 63, _NAME_OTHER)


def telling(value: Json, unnamed: str = "other") -> str | None:
    """As `word`, but two values that differ stay different: what was changed by cleaning carries a digest.

    So does a text of which no plain letter is left, as in many languages; it stands as `unnamed` with its digest.
    """
    cleaned = word(value, 60)
    if cleaned == str(value) or (cleaned is None and not (isinstance(value, str) and value.strip())):
        return cleaned
    return f"{cleaned or unnamed}-{hashlib.sha256(str(value).encode('utf-8', 'replace')).hexdigest()[:12]}"


def labels(values: list[Json]) -> tuple[str, ...]:
    """Each label once, in order, of texts and lists of texts; commas and spaces part several in one text."""
    found: dict[str, None] = {}
    for value in values:
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str | int) and not isinstance(one, bool):
                for part in re.split(r"[,;\s]+", str(one)[:LONGEST_TEXT]):
                    cleaned = word(part)
                    if cleaned is not None and len(found) < MOST_LABELS:
                        found[cleaned] = None
    return tuple(found)


def text(values: list[Json]) -> str:
    """The texts, one beneath the other, bounded; without NUL, which no database keeps."""
    parts = [str(value) for value in values if isinstance(value, str | int | float) and not isinstance(value, bool)]
    return "\n".join(part.strip() for part in parts if part.strip())[:LONGEST_TEXT].replace("\0", "\ufffd")


def instant(value: Json, received_at: Instant) -> Instant | None:
    """A time in RFC 3339 or in seconds, milli-, micro- or nanoseconds since 1970; None where it is not believable.

    Believable: after 2000, at most a day after it was received, and with a zone.
    """
    try:
        if isinstance(value, str) and not re.fullmatch(r"\d{1,20}(\.\d{1,9})?", value):
            found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value.strip()[:64]))
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            number = float(value)
            scale = next((scale for scale in (1, 10**3, 10**6, 10**9) if number < 1e11 * scale), 10**9)
            found = datetime.fromtimestamp(number / scale, UTC)
        else:
            return None
        if found.tzinfo is None or not _EARLIEST <= found <= moment(received_at) + timedelta(days=1):
            return None
    except (ValueError, OverflowError, OSError):
        return None
    return instant_from(found)


def fingerprint(pieces: list[Json]) -> Digest:
    """SHA-256 over the pieces, each with its kind and length before it: no two lists run together into the same one."""
    counted = hashlib.sha256()
    for piece in pieces:
        kind = "null" if piece is None else "text" if isinstance(piece, str) else "json"
        data = b"" if piece is None else _bytes(piece)
        counted.update(f"{kind}:{len(data)}:".encode() + data)
    return "sha256:" + counted.hexdigest()


def _bytes(piece: Json) -> bytes:
    if isinstance(piece, str):
        return piece.encode("utf-8", "surrogatepass")
    return orjson.dumps(piece, option=orjson.OPT_SORT_KEYS)

"""Short identifiers that a person can read over a telephone: Crockford's base 32, without I, L, O, U."""

import hashlib

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def short_id(prefix: str, material: bytes, letters: int = 10) -> str:
    """`PREFIX-` and so many letters made from the material: the same material, the same identifier."""
    number = int.from_bytes(hashlib.sha256(material).digest(), "big")
    made = []
    for _ in range(letters):
        number, position = divmod(number, 32)
        made.append(_ALPHABET[position])
    return f"{prefix}-{''.join(made)}"


INCIDENT_TAG = "incident:"


def incident_tag(incident_id: str) -> str:
    """The tag that every run of an incident carries in the engine."""
    return f"{INCIDENT_TAG}{incident_id}"

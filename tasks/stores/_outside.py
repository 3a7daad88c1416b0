"""Ports to what is out of this installation's reach: where heads are anchored, and what a bucket was seen to refuse."""

from typing import Protocol

from runbooks.domain.value import Value


class AnchorPlace(Protocol):
    """Where signed heads of the log are put a second time, out of the operator's reach."""

    @property
    def name(self) -> str:
        """How the place is called in the record."""

    def put(self, origin: str, size: int, note: bytes, body: bytes) -> None:
        """Store the head of this size, durable before return, never replaced; LedgerError when it cannot.

        `body` is what the note signs: the same head signed anew is the same head, and where heads are locked, locked anew.
        """


class TimeStampAuthority(Protocol):
    """Somebody else who says when something existed."""

    @property
    def name(self) -> str:
        """How it is called in the record."""

    def stamp(self, body: bytes) -> tuple[bytes, bytes]:
        """Request and response (RFC 3161) over these bytes; LedgerError when there is none."""


class BucketCheck(Value):
    """One thing tried out on a bucket."""

    name: str
    passed: bool
    found: str
    needed: bool = True
    """Without it the bucket is no place for evidence; else it is only good to know."""
    todo: str = "know it; quell works without"
    """What a person does about one that is only good to know, when it failed."""

"""A second place for checkpoints: a directory, best on another mount that quell's user may add to and not change.

One folder per log, one file per head, named by size. A file that is there is never replaced; another head of the same
size means that the log shows two histories.
"""

import re
from pathlib import Path

from runbooks.domain.errors import LedgerError
from tasks.stores._files import make_directory, write_new

_ORIGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class AnchorDirectory:
    """An `AnchorPlace` on a file system."""

    def __init__(self, place: Path) -> None:
        self._place = place

    @property
    def name(self) -> str:
        """How the place is called in the record."""
        return str(self._place)

    def put(self, origin: str, size: int, note: bytes, body: bytes) -> None:
        """Store the signed head, durable before return; LedgerError when it cannot, or another head stands there."""
        if not _ORIGIN.fullmatch(origin):
            raise self._failed(f"the log's name {origin!r} names no folder")
        file = self._place / origin / f"{size:020d}.note"
        try:
            if not self._place.is_dir():
                raise self._failed(f"{self._place} is no directory: it is not mounted, or was never made")
            make_directory(file.parent)
            if not file.exists():
                write_new(file, note, mode=0o444)
            elif not file.read_bytes().startswith(body + b"\n"):
                raise self._failed(f"{file} holds another head of the same size: the log shows two histories")
        except OSError as error:
            raise self._failed(f"{self._place} cannot be written: {error.strerror or type(error).__name__}") from error

    def _failed(self, problem: str) -> LedgerError:
        return LedgerError(
            f"{problem}.", now="the response goes on; entries since the last anchor are not anchored here.",
            next_step="make the directory writable for this user, or name another as anchor_directory.",
        )  # fmt: skip

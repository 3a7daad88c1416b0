"""Where Prefect may put what a run returns or raises: nowhere. The ledger holds what is done, and the run its message."""

import os

from prefect.filesystems import LocalFileSystem


class NoResults(LocalFileSystem):
    """Takes everything and keeps nothing.

    A place that is named need not be asked for, over a new line to the engine; one that refuses,
    as the null device does, leaves a warning on the page of every run that fails.
    """

    _block_type_slug = "quell-no-results"

    async def awrite_path(self, path: str, content: bytes) -> str:
        """Nothing is written."""
        del content
        return path

    def write_path(self, path: str, content: bytes, **_: bool) -> str:  # type: ignore[override]  # Prefect's answers both ways
        """Nothing is written."""
        del content
        return path


NO_RESULTS = NoResults(basepath=os.devnull)

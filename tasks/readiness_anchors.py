"""Are the anchors ready: does what is out of the operator's reach take a head, and is it really out of reach."""

from collections.abc import Iterator
from pathlib import Path

from runbooks.domain.bucket import is_bucket
from runbooks.domain.errors import QuellError
from tasks.anchors import unanchored
from tasks.installation import Installation
from tasks.readiness import Finding, attention, check_locks, ok, wrong
from tasks.stores import open_time_stamps


def check_anchors(installation: Installation) -> Iterator[Finding]:
    """The second store and the time-stamp authority are tried out; then what no anchor covers yet."""
    limits = installation.settings.limits
    place, authority = limits.anchor_directory, limits.anchor_tsa_url
    if not place and not authority:
        yield attention(
            "anchors", "none: whoever holds the log's key could rewrite it unnoticed",
            "set anchor_directory (another mount, or a bucket that locks) or anchor_tsa_url in config/defaults.toml",
        )  # fmt: skip
        return
    if is_bucket(place):
        yield from check_locks("anchor", place, limits.anchor_s3, installation)
    elif place:
        yield _directory(Path(place), installation.settings.home)
    if authority:
        yield _authority(authority)
    first, size = unanchored(installation)
    if first < size:
        yield attention(
            "anchors", f"entries {first} to {size - 1} are not anchored", "the keeper anchors them: `quell keep`"
        )


def _directory(place: Path, home: Path) -> Finding:
    if not place.is_dir():
        return wrong("anchor", f"{place} is no directory: it is not mounted, or was never made", "mount or make it")
    if place.stat().st_dev == home.stat().st_dev:
        return attention(
            "anchor", f"{place} is on the same file system as {home}: who can change one can change the other",
            "name a directory on another mount, best one that can only be added to",
        )  # fmt: skip
    return ok("anchor", f"{place} is another file system than {home}")


def _authority(url: str) -> Finding:
    try:
        open_time_stamps(url).stamp(b"quell check\n")
    except QuellError as error:
        return wrong("time-stamps", error.problem, error.next_step)
    return ok("time-stamps", f"{open_time_stamps(url).name} answers")

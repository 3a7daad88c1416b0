"""Places for a vault, each opened anew as often as a test likes: a folder, a bucket."""

from collections.abc import Callable, Iterable
from pathlib import Path

from runbooks.domain.evidence import EvidenceClass
from tasks.stores import open_vault
from tasks.stores.base import Sealed, SourceFacts, Vault
from tests.contracts.stores.buckets import S3

NOW = "2026-03-01T12:00:00.000000000Z"
Opened = Callable[[], Vault]


def on_disk(folder: Path) -> Opened:
    return lambda: open_vault(str(folder / "vault"), folder / "keys")


def in_bucket(server: S3, folder: Path) -> Opened:
    location = server.new_bucket()
    return lambda: open_vault(location, folder / "keys", server.settings(), server.secret)


def seal(vault: Vault, items: Iterable[bytes], facts: SourceFacts | None = None) -> Sealed:
    return vault.seal(
        incident="INC-0001", evidence_class=EvidenceClass.A, source="traces", media_type="application/json", items=items,
        facts=facts or SourceFacts(), now=lambda: NOW,
    )  # fmt: skip

"""Who may come in now: the active sources with their secrets read, made anew every second and never kept elsewhere."""

from dataclasses import dataclass

from runbooks.domain.errors import QuellError
from runbooks.domain.sources import SecretForm, Source
from tasks.installation import Installation
from tasks.intake.verifying import Key, UnusableSecretError, signing_key
from tasks.ledger import clock
from tasks.settings import resolve_secret


@dataclass(frozen=True)
class Admitted:
    """One source, ready to be judged by."""

    name: str
    source: Source
    keys: tuple[Key, ...]
    unreadable: tuple[str, ...]
    """Secrets that should hold now and cannot be read: whoever matches none of the others may be right all the same."""
    kept: frozenset[bytes]
    kept_beginnings: tuple[bytes, ...]

    def keeps(self, headers: list[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
        """Of a request's headers (lower-case names) those that a delivery of this source keeps."""
        return tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in headers
            if name in self.kept or (self.kept_beginnings and name.startswith(self.kept_beginnings))
        )  # fmt: skip


def admit(installation: Installation) -> dict[str, Admitted]:
    """Every source of the active configuration."""
    return {name: _admitted(installation, name, source) for name, source in installation.active().sources.items()}


def _admitted(installation: Installation, name: str, source: Source) -> Admitted:
    now, keys, unreadable = clock(), [], []
    form = source.signing.secret_form if source.signing else SecretForm.RAW
    for secret in source.secrets:
        if secret.holds(now):
            try:
                keys.append(signing_key(secret.id, resolve_secret(secret.secret, installation.settings.home), form))
            except (QuellError, UnusableSecretError):
                unreadable.append(secret.id)
    kept = source.kept()
    return Admitted(
        name, source, tuple(keys), tuple(unreadable),
        frozenset(one.encode() for one in kept if not one.endswith("*")),
        tuple(sorted(one[:-1].encode() for one in kept if one.endswith("*"))),
    )  # fmt: skip

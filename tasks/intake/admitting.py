"""Who may come in now: the active sources with their secrets read, made anew every second and never kept elsewhere."""

from dataclasses import dataclass, field

from runbooks.domain.errors import QuellError
from runbooks.domain.sources import SecretForm, Source
from tasks.installation import Installation
from tasks.intake.verifying import ClaimReader, Key, signing_key
from tasks.ledger import clock
from tasks.settings import resolve_secret

MOST_TYPES = 64


@dataclass(frozen=True)
class Admitted:
    """One source, ready to be judged by."""

    name: str
    source: Source
    keys: tuple[Key, ...]
    unreadable: tuple[str, ...]
    """Secrets that should hold now and cannot be read: whoever matches none of the others may be right all the same."""
    kept: tuple[bytes, ...]
    kept_beginnings: tuple[bytes, ...]
    reader: ClaimReader | None
    types: dict[str, bool] = field(default_factory=dict)
    """What was found out about content types, so that it is found out once."""

    def takes(self, content_type: str) -> bool:
        """Whether the source takes bodies of this type."""
        known = self.types.get(content_type)
        if known is None:
            known = self.source.takes(content_type)
            if len(self.types) < MOST_TYPES:
                self.types[content_type] = known
        return known

    def keeps(self, headers: dict[bytes, bytes]) -> tuple[tuple[str, str], ...]:
        """Of a request's headers (lower-case names) those that a delivery of this source keeps."""
        names = [name for name in self.kept if name in headers]
        if self.kept_beginnings:
            names += [name for name in headers if name.startswith(self.kept_beginnings) and name not in self.kept]
        return tuple([(name.decode("latin-1"), headers[name].decode("latin-1")) for name in names])


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
            except (QuellError, ValueError):  # of this one alone: the others are read all the same
                unreadable.append(secret.id)
    kept = source.kept()
    return Admitted(
        name, source, tuple(keys), tuple(unreadable),
        tuple(sorted(one.encode() for one in kept if not one.endswith("*"))),
        tuple(sorted(one[:-1].encode() for one in kept if one.endswith("*"))),
        ClaimReader(source.signing) if source.signing else None,
    )  # fmt: skip

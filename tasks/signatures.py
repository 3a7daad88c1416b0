"""Whether people really signed what the record says of them: one rule for gate, connectors, replay and bundles.

Rules of `Signatures.fault`, in order:
1. What must be signed (`bundle.must_be_signed`) has a signature. What need not be, and has none, is not judged here.
2. It was signed for this incident, or (another archetype) for the one that this incident continues.
3. An activation was signed for exactly this step, from the configuration that was active to the one that it names, by
   an owner of the former's policy where that names owners.
4. The signature holds over what was said, in its own namespace, by a key that the configuration that was active right
   before the entry lists for whoever says it; it is the key that the entry names.
An activation that fails is a stray: it is passed over, as if nobody had written it, by whatever asks what was active.
The first activation that is known rests on nothing.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from runbooks.domain import bundle
from runbooks.domain.approval import Statement
from runbooks.domain.errors import QuellError
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.signed import Activation
from runbooks.domain.value import Digest, Json, canonical
from tasks.ledger import Pen
from tasks.proofs import verify_bytes


@dataclass(frozen=True)
class _Say:
    """Who had a say under one configuration. Read from its JSON alone: also what only an older quell understands."""

    owners: tuple[str, ...]
    keys: dict[str, tuple[str, ...]]
    """Key lines of everybody who is listed."""

    @classmethod
    def read(cls, data: bytes | None) -> "_Say | None":
        """None when it is not there, or is no configuration."""
        try:
            told = json.loads(data or b"")
            people = {str(name): tuple(map(str, one.get("ssh_keys", ()))) for name, one in told["people"].items()}
            return cls(tuple(map(str, told["policy"].get("owners", ()))), people)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


class Signatures:
    """Those of one log, by its activations. `read` gives an object by name and digest; None: it is not there."""

    def __init__(self, entries: Iterable[LedgerEntry], read: Callable[[str, Digest], bytes | None]) -> None:
        self._read = read
        self._known: dict[Digest, _Say | None] = {}
        self.activations: list[LedgerEntry] = []
        """Those that count, in order."""
        self.strays: dict[int, str] = {}
        """Index of each one that does not, and why."""
        found = [entry for entry in entries if entry.type is EntryType.CONFIGURATION_ACTIVATED]
        self._all = sorted(found, key=lambda entry: entry.index)
        for entry in self._all:
            if why := self.fault(entry):
                self.strays[entry.index] = why
            else:
                self.activations.append(entry)

    def active_before(self, entry: LedgerEntry) -> Digest | None:
        """The configuration that was active right before this entry; None when nothing tells."""
        return bundle.active_before(self.activations, entry)

    def since(self, opened: int) -> list[LedgerEntry]:
        """The last two activations that count before the entry of this index, and all after it, strays too.

        Earlier strays are left out: nothing after it rests on them.
        """
        before = [entry for entry in self.activations if entry.index < opened][-2:]
        return before + [entry for entry in self._all if entry.index >= opened and entry.incident is None]

    def without_strays(self, entries: Iterable[LedgerEntry]) -> list[LedgerEntry]:
        """These entries but for activations that do not count."""
        return [entry for entry in entries if entry.index not in self.strays]

    def fault(self, entry: LedgerEntry) -> str:
        """Why a person did not sign this entry that had to; "" when it is signed, or nobody had to."""
        if entry.type not in bundle.SIGNED:
            return ""
        if entry.type is EntryType.CONFIGURATION_ACTIVATED and "configuration" not in entry.subject:
            return "it names no configuration"
        try:
            return self._fault(entry)
        except (ValueError, TypeError, RecursionError):
            return "what was signed is not of the form that it should have"

    def _fault(self, entry: LedgerEntry) -> str:
        active = self.active_before(entry)
        if active is None and entry.type in (EntryType.CONFIGURATION_ACTIVATED, EntryType.SIGNAL_RECEIVED):
            return ""
        say = self._say(active) if active else None
        if active is None or say is None:
            return "the configuration that was active then is not here, so nobody can tell who had a say"
        signed = bundle.signed_part(entry, self._read)
        if signed is None:  # 1
            needed = bundle.must_be_signed(entry, say.owners)
            return f"expected a signature under {_in_words(entry)}, found none" if needed else ""
        said, proof, namespace = signed
        continues = entry.body.get("continues") if entry.type is EntryType.INCIDENT_RECLASSIFIED else None
        if said.get("incident", entry.incident) not in (entry.incident, continues):  # 2
            return "it was signed for another incident"
        return _wrong_form(entry, said, active, say) or _unproven(said, proof, namespace, say)

    def signer(self, entry: LedgerEntry) -> str | None:
        """Who signed this entry, if somebody did and it can be checked."""
        signed = bundle.signed_part(entry, self._read)
        checked = signed is not None and self.active_before(entry) is not None and not self.fault(entry)
        return str(signed[0].get("person")) if signed and checked else None

    def _say(self, configuration: Digest) -> _Say | None:
        if configuration not in self._known:
            self._known[configuration] = _Say.read(self._read("configuration", configuration))
        return self._known[configuration]


def _in_words(entry: LedgerEntry) -> str:
    if entry.type is EntryType.CONFIGURATION_ACTIVATED:
        return "an activation, by an owner of the policy that was active"
    return entry.type.replace("_", " ")


def _wrong_form(entry: LedgerEntry, said: dict[str, Json], active: Digest, say: _Say) -> str:
    """Rule 3; ValidationError when what was signed is not what it should be."""
    if entry.type is EntryType.DECISION_RECORDED:
        Statement.model_validate(said)
    if entry.type is EntryType.CONFIGURATION_ACTIVATED:
        return Activation.model_validate(said).fault(active, entry.subject["configuration"], say.owners)
    return ""


def _unproven(said: dict[str, Json], proof: dict[str, Json], namespace: str, say: _Say) -> str:
    """Rule 4."""
    name = str(said.get("person"))
    if name not in say.keys:
        return f"{name} is not listed in the configuration that was active then"
    why, key = _by_key(canonical(said), str(proof["signature"]), say.keys[name], name, namespace)
    return why or (
        "" if proof.get("key") == key else f"it was signed with the key {key}, which the entry does not name"
    )


@lru_cache(maxsize=4096)
def _by_key(message: bytes, armored: str, keys: tuple[str, ...], person: str, namespace: str) -> tuple[str, str | None]:
    """Why the signature does not hold, or the fingerprint of its key; the same question is computed once per process."""
    try:
        return "", verify_bytes(message, armored, keys, person=person, namespace=namespace).key
    except QuellError as error:
        return error.problem.rstrip("."), None


def write_over(
    writer: Pen, fault: Callable[[LedgerEntry], str], kind: EntryType, key: str, *, incident: str | None = None,
    subject: dict[str, Digest], body: dict[str, Json],
) -> LedgerEntry:  # fmt: skip
    """Write what a person said, once. What nobody signed and stands under the key already does not swallow it."""
    while True:
        written = writer.write(kind, key, incident=incident, subject=subject, body=body)
        if (written.subject, written.body.get("proof")) == (subject, body.get("proof")) or not fault(written):
            return written
        key += f"/{written.index}"

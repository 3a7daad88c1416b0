"""Replay: rebuild an incident from its entries, judge everything again, and hold ledger, vault and Prefect side by side.

Works on a live installation and on a bundle. It acts on nothing and calls no connector. Prefect is asked only for a live
incident, and may be gone: then the sealed mirrors are all there is.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from runbooks.domain import bundle
from runbooks.domain.audit import Audit, Finding, caveat, fault
from runbooks.domain.checkpoint import VerifierKey
from runbooks.domain.errors import LedgerError, QuellError, UnreachableError
from runbooks.domain.evidence import Collection
from runbooks.domain.history import Pages, compare, wiped
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.replay import Outcome, Replay, Step
from runbooks.domain.value import Digest, Value, digest_of
from tasks.bag import UNREADABLE, Bag, open_bag, read, stumbling
from tasks.bundle_content import records
from tasks.installation import Installation
from tasks.ledger import beginnings_before
from tasks.proofs import listed_fingerprints
from tasks.signatures import Signatures
from tasks.verification import verify_bundle

STEPS = frozenset({
    "open the incident", "show the incident", "take in the answers", "seal the evidence", "list the affected records", "show the evidence",
    "make the plan", "ask for approval", "read the decisions", "leave the requests on the page", "contain",
    "show the containment", "judge the containment", "what must come back for the trials", "take away again",
    "replay the attack, harmlessly", "show the recovery", "what may be given back", "give back", "schedule the review",
    "show where everything is", "show the review",
    "mirror the history", "close the incident", "draft the review", "replay the incident", "look for another way",
    "call somebody who can name it",
})  # fmt: skip
"""Names of every step; a test holds them equal to the code."""


class Replayed(Value):
    """What a replay made of an incident."""

    incident: str
    steps: tuple[Step, ...]
    audit: Audit


def replay_live(installation: Installation, incident: str, pages_now: Callable[[str], Pages | None]) -> Replayed:
    """The incident of this installation. `pages_now` asks Prefect; it may say that it cannot (UnreachableError)."""
    findings: list[Finding] = [
        fault(f"entry {gap.index}", f"{gap.what}.", "the ledger was changed behind quell's back.")
        for gap in installation.store.check()
    ]
    try:
        installation.incident(incident)
        entries = installation.store.entries(incident)
        activated = installation.store.walk(types=(EntryType.CONFIGURATION_ACTIVATED,))
        house = [*activated, *beginnings_before(installation.store, entries)]
    except LedgerError as error:
        findings.append(
            fault(
                "the ledger", error.problem, "this incident cannot be read from it: compare with a bundle or an anchor."
            )
        )
        return Replayed(incident=incident, steps=(), audit=Audit(findings=tuple(findings), checked={"entries": 0}))
    findings += _vault(installation, entries)
    mirrors = list(
        _mirrors(entries, installation.vault.get, lambda c: (item for _, item in installation.vault.items(c)), findings)
    )
    now: Pages | None = None
    try:
        now = pages_now(incident)
        if now is None:
            findings.append(wiped(mirrors))
    except UnreachableError as error:
        findings.append(caveat("Prefect now", error.problem, "only the sealed mirrors of its history are compared."))

    def get(digest: Digest) -> bytes | None:
        return installation.vault.get(digest) if installation.vault.has(digest) else None

    return _judge(incident, entries, house, get, mirrors, now, findings)


def replay_bundle(place: Path, trusted: VerifierKey | None) -> Replayed:
    """The incident of a bundle: first whether it is to be believed, then whether it was decided rightly."""
    bag = open_bag(place)
    reading = verify_bundle(bag, trusted)
    named = {name.rpartition("-")[2]: name for name in bag.names() if name.startswith("data/objects/")}

    def get(digest: Digest) -> bytes | None:
        name = named.get(digest.removeprefix("sha256:"))
        data = read(bag, name) if name is not None else None
        return data if data is not None and digest_of(data) == digest else None

    findings = list(reading.findings)
    kept: dict[Digest, bytes] = {}
    with stumbling(findings, "data/evidence/"):
        kept |= {digest_of(data): data for data in _collections(bag)}
    mirrors = list(_mirrors(reading.entries, kept.__getitem__, lambda c: _disclosed(bag, c), findings))
    incident = next((str(e.incident) for e in reading.entries), "unknown")
    return _judge(incident, reading.entries, reading.house, get, mirrors, None, findings)


def _judge(
    incident: str, entries: list[LedgerEntry], house: list[LedgerEntry], get: Callable[[Digest], bytes | None],
    mirrors: list[tuple[int, Pages]], now: Pages | None, findings: list[Finding],
) -> Replayed:  # fmt: skip
    signatures, unsigned, counted = Signatures((), lambda _, digest: get(digest)), dict[int, str](), house
    with stumbling(findings, "signatures"):
        signatures = Signatures(house, lambda _, digest: get(digest))
        unsigned = {entry.index: why for entry in entries if (why := signatures.fault(entry))}
        counted = signatures.without_strays(house)
    steps: list[Step] = []
    with stumbling(findings, "the entries"):
        steps += Replay(entries, counted, get, listed_fingerprints, unsigned).steps()
    for step in steps:
        if step.outcome is Outcome.DIFFERS:
            findings += [
                fault(f"entry {step.entry}", f"{step.type}: {difference}.",
                      "the record says something that does not follow from its own inputs.")
                for difference in step.differences
            ]  # fmt: skip
        elif step.outcome is Outcome.WITHHELD:
            findings.append(
                caveat(f"entry {step.entry}", f"{step.type}: {step.differences[0]}.", "this step was not judged again.")
            )
    with stumbling(findings, "signatures"):
        findings += _signatures(entries, house, signatures)
    with stumbling(findings, "Prefect's history"):
        findings += compare(entries, mirrors, now, STEPS, house)
    counts = {kind: sum(s.outcome is kind for s in steps) for kind in Outcome}
    checked = {
        "entries": len(steps), "judged again": counts[Outcome.AGREES] + counts[Outcome.DIFFERS],
        "not recomputed": counts[Outcome.WITHHELD], "mirrors of Prefect": len(mirrors),
    }  # fmt: skip
    return Replayed(incident=incident, steps=tuple(steps), audit=Audit(findings=tuple(findings), checked=checked))


def _vault(installation: Installation, entries: list[LedgerEntry]) -> Iterator[Finding]:
    """Everything that entries refer to is in the vault, unchanged."""
    for entry in entries:
        for name, digest in bundle.objects_of(entry):
            try:
                data = installation.vault.get(digest)
                if name in bundle.COLLECTIONS:
                    installation.vault.verify(Collection.from_bytes(data))
            except QuellError as error:
                yield fault(
                    f"entry {entry.index}",
                    f"its {name}: {error.problem}",
                    "the vault was changed; the ledger still proves what was there.",
                )


def _signatures(entries: list[LedgerEntry], house: list[LedgerEntry], signatures: Signatures) -> Iterator[Finding]:
    """Who the record says decided really signed it; so did who made a configuration the active one since it was opened."""
    opened = entries[0].index if entries else 0
    for entry in [*house, *entries]:
        if why := signatures.strays.get(entry.index) or signatures.fault(entry):
            yield (caveat if entry.index < opened else fault)(
                f"entry {entry.index}", f"{entry.type.replace('_', ' ')}: {why}.",
                "no person's word stands behind this entry; it counts for nothing.",
            )  # fmt: skip


def _mirrors(
    entries: list[LedgerEntry], get: Callable[[Digest], bytes], items: Callable[[Collection], Iterator[bytes]],
    findings: list[Finding],
) -> Iterator[tuple[int, Pages]]:  # fmt: skip
    """The pages that were sealed at each gate, as far as they can be read."""
    for entry in entries:
        if entry.type is not EntryType.HISTORY_MIRRORED or "collection" not in entry.subject:
            continue
        try:
            pages = [json.loads(item) for item in items(Collection.from_bytes(get(entry.subject["collection"])))]
            yield entry.index, {str(page["flow_run"]["id"]): page for page in pages}
        except (QuellError, *UNREADABLE) as error:
            problem = error.problem if isinstance(error, QuellError) else "it is withheld, or cannot be read"
            findings.append(
                caveat(f"entry {entry.index}", f"the mirror of Prefect: {problem}.", "it was not compared.")
            )


def _collections(bag: Bag) -> Iterator[bytes]:
    for name in bag.names():
        if name.startswith("data/evidence/") and name.endswith("/collection.json"):
            yield read(bag, name)


def _disclosed(bag: Bag, collection: Collection) -> Iterator[bytes]:
    names = [name for name in bag.names() if name.startswith(f"data/evidence/{collection.id}/items-")]
    if not names and collection.items:
        raise KeyError(collection.id)
    for name in names:
        for _, _, item in records(bag, name):
            yield item

"""Keeping a system's signals quiet for a while (a snooze, a maintenance window): signed, recorded, never without an end.

Rules of `keep_quiet`, in order:
1. The person is listed, valid now, has one of the policy's `quiet_roles`, and signed exactly this for this installation.
2. It ends: a snooze after at most a day, a maintenance window after at most a week.
3. It never keeps SEV1 quiet, and it is for a system of the inventory.
The signals are kept and counted all the while; what still fires at the end opens an incident then. The same id again,
with an earlier end, ends it early.
"""

import secrets

from runbooks.domain.correlation import Quiet
from runbooks.domain.errors import ApprovalError
from runbooks.domain.instants import later
from runbooks.domain.ledger import Actor, EntryType, LedgerEntry
from runbooks.domain.severity import Severity
from runbooks.domain.signed import QUIET_NAMESPACE, Quieting
from tasks.installation import Installation
from tasks.ledger import clock, person_actor
from tasks.persons import listed_person
from tasks.proofs import verify_bytes

LONGEST_HOURS = {False: 24, True: 24 * 7}
"""By whether it is maintenance."""


def keep_quiet(installation: Installation, said: Quieting, signature: str, *, door: Actor) -> LedgerEntry:
    """The entry by which it holds; ApprovalError says why it does not, and the refusal is on record."""
    try:
        proof = _verified(installation, said, signature)
    except ApprovalError as error:
        installation.pen(door).write(
            EntryType.DECISION_REFUSED, f"quiet-refused/{secrets.token_hex(8)}",
            body={"claimed_person": said.quiet.person, "answer": "keep quiet", "because": error.problem},
        )  # fmt: skip
        raise
    quiet = said.quiet
    return installation.pen(person_actor(quiet.person)).write(
        EntryType.SIGNALS_QUIETED, f"quiet/{said.digest()}", subject={"configuration": installation.active_digest()},
        body={"quiet": quiet.as_json(), "installation": said.installation, "proof": proof, "because": quiet.reason},
    )  # fmt: skip


def in_force(installation: Installation) -> list[Quiet]:
    """What is kept quiet now or will be, by the ledger; the newest word on each counts."""
    now = clock()
    newest = {
        quiet.id: quiet
        for entry in installation.store.entries(types=(EntryType.SIGNALS_QUIETED,))
        for quiet in (Quiet.model_validate(entry.body["quiet"]),)
    }
    return [quiet for quiet in newest.values() if now < quiet.until]


def _verified(installation: Installation, said: Quieting, signature: str) -> dict[str, object]:
    configuration, quiet = installation.active(), said.quiet
    person = listed_person(configuration, quiet.person, installation.latest())  # 1
    allowed = configuration.policy.quiet_roles
    if said.installation != installation.id:
        raise _refused("it was signed for another installation.", "sign it here.")
    if not set(person.roles) & set(allowed):
        raise _refused(
            f"expected {quiet.person} to have one of the roles {', '.join(allowed) or '(none is named)'}.",
            "ask somebody who has, or name roles in quiet_roles of config/policy.toml.",
        )
    if not signature:
        raise _refused("it needs an SSH signature, found none.", "sign with --key FILE, or --agent --public-key FILE.")
    proof = verify_bytes(said.canonical(), signature, person.ssh_keys, person=quiet.person, namespace=QUIET_NAMESPACE)
    hours = LONGEST_HOURS[quiet.maintenance]  # 2
    if quiet.until > later(max(quiet.since, clock()), 3600 * hours):
        raise _refused(f"expected an end within {hours} hours, found {quiet.until[:16]} UTC.", "say it again then.")
    if quiet.worst is Severity.SEV1:  # 3
        raise _refused("SEV1 is never kept quiet.", "name SEV2 or less.")
    if quiet.system not in configuration.systems:
        known = ", ".join(sorted(configuration.systems)) or "none"
        raise _refused(f"the inventory does not know {quiet.system}.", f"name one of {known}.")
    return dict(proof.as_json())


def _refused(problem: str, next_step: str) -> ApprovalError:
    return ApprovalError(problem, now="signals open incidents as before.", next_step=next_step)

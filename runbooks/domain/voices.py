"""Whose voice somebody has, and who may answer a request: what must be true of a person before any answer is counted.

How answers count: judging.py. Who may answer is said before anybody did, by the same rules (2, 3, 4 and 8 there): who
was listed when it was asked and is now, is in role or deputy of somebody who is, and could still prove it.
"""

from collections.abc import Callable, Iterable

from runbooks.domain.approval import ApprovalRequest, Purpose, barred_by
from runbooks.domain.configuration import Configuration, Person, ProofKind
from runbooks.domain.incident import Name
from runbooks.domain.instants import Instant
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.value import Digest


def key_of(line: str | None) -> list[str]:
    """Type and base64 of a key line: what the key is, without the comment."""
    return (line or "").split()[:2]


def valid_objection(person: Person | None, name: Name, at: Instant, when: str) -> str | None:
    """Listed and valid, in one of the two configurations; `when` says which in words."""
    if person is None:
        return f"{name} is not listed {when}"
    if person.valid_from is not None and at < person.valid_from:
        return f"{name} was not valid yet at {at}"
    if person.valid_until is not None and at > person.valid_until:
        return f"{name} was no longer valid at {at}"
    return None


def speaks_for(name: Name, roles: Iterable[Name], configurations: Iterable[Configuration]) -> Name | None:
    """Whose voice this is: one's own when in role in all these configurations, else the principal's; None: nobody's."""
    wanted, found = set(roles), set()
    for configuration in configurations:
        person = configuration.people.get(name)
        if person is None:
            return None
        principal = configuration.people.get(person.deputy_for) if person.deputy_for else None
        if wanted & set(person.roles):
            found.add(name)
        elif principal is not None and wanted & set(principal.roles):
            found.add(str(person.deputy_for))
        else:
            return None
    return found.pop() if len(found) == 1 else None


def who_disabled(
    entries: Iterable[LedgerEntry], request_of: Callable[[LedgerEntry], ApprovalRequest],
    configuration: Callable[[Digest], Configuration],
) -> set[Name]:  # fmt: skip
    """Whose word took something away, by these entries of one incident: they alone are not enough to give it back (9).

    Those whose approval counted, whoever they stood for, and whoever broke the glass.
    """
    found: set[Name] = set()
    for entry in entries:
        if entry.type is EntryType.BREAK_GLASS_OPENED:
            found.add(str(entry.body["person"]))
        elif entry.type is EntryType.REQUEST_GRANTED and entry.body["purpose"] == Purpose.CONTAIN:
            request = request_of(entry)
            pinned = configuration(request.configuration)
            for name in map(str, entry.body["approvers"]):
                found |= {name, speaks_for(name, request.roles, (pinned,)) or name}
    return found


def who_may_answer(
    request: ApprovalRequest, pinned: Configuration, active: Configuration, now: Instant
) -> tuple[Name, ...]:
    """Whose answer could count if it came now, sorted; `pinned` is the configuration under which it was asked.

    In role by the request and by the right that covers it in the active one; without such a right, nobody.
    """
    right = request.right_in(active)
    if right is None and request.says_its_act:
        return ()
    barred = {request.requester.name, *request.excluded}
    barred |= barred_by(right, active, request.system) if right is not None else set()
    proofs = [kind for kind in request.proofs if right is None or kind in right.proofs]

    def may(name: Name) -> bool:
        voice, both = speaks_for(name, request.roles, (pinned, active)), (pinned.people.get(name), active.people[name])
        if voice is None or {name, voice} & barred or any(valid_objection(one, name, now, "") for one in both):
            return False
        in_role = right is None or speaks_for(name, right.roles, (active,)) == voice
        return in_role and any(_can_prove(kind, *both) for kind in proofs)

    return tuple(name for name in sorted(active.people) if may(name))


def _can_prove(kind: ProofKind, pinned: Person | None, active: Person) -> bool:
    """Whether what the proof rests on was listed when it was asked, and is now."""
    if pinned is None:
        return False
    if kind is ProofKind.SSH:
        return any(key_of(line) == key_of(other) for line in pinned.ssh_keys for other in active.ssh_keys)
    return pinned.code_secret is not None and pinned.code_secret == active.code_secret

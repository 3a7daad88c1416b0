"""From proposed to active: what would change, who may make it so, and on whose word it became so."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from runbooks.domain.configuration import Configuration
from runbooks.domain.errors import ApprovalError, ConfigurationError
from runbooks.domain.ledger import Actor, EntryType, LedgerEntry
from runbooks.domain.signed import POLICY_NAMESPACE, Activation
from runbooks.domain.value import Json, Value
from tasks.installation import Installation
from tasks.ledger import INSTALLATION, person_actor
from tasks.persons import listed_person
from tasks.proofs import verify_bytes


class Difference(Value):
    """One key whose value is not the same; None: it is not there at all."""

    key: str
    active: str | None
    files: str | None


def differences(active: Configuration, files: Configuration) -> list[Difference]:
    """Every key that differs, in order."""
    old, new = dict(_flat("", active.as_json())), dict(_flat("", files.as_json()))
    return [
        Difference(key=key, active=old.get(key), files=new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _flat(path: str, value: Json) -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [pair for key, inner in value.items() for pair in _flat(f"{path}.{key}" if path else str(key), inner)]
    if isinstance(value, list) and not any(isinstance(one, dict) for one in value):
        return [(path, ", ".join(map(str, value)) or "(none)")]
    if isinstance(value, list):
        names = [
            str(one["name"]) if isinstance(one, dict) and "name" in one else f"no. {n}"
            for n, one in enumerate(value, start=1)
        ]
        return [pair for name, inner in zip(names, value, strict=True) for pair in _flat(f"{path}[{name}]", inner)]
    return [(path, str(value))]


def activation_of(installation: Installation, files: Configuration, person: str) -> Activation:
    """What an owner signs to make these files follow the active configuration."""
    return Activation(
        installation=installation.id, person=person, previous=installation.active_digest(), next=files.digest()
    )


@contextmanager
def refusals_on_record(installation: Installation, door: Actor, claimed: str | None) -> Iterator[None]:
    """Inside: an attempt to activate the files by somebody who says to be `claimed`. A refusal is written, then raised.

    Of files that are not sound only the place is written, never what was found there.
    """
    try:
        yield
    except (ApprovalError, ConfigurationError) as error:
        installation.pen(door).write(
            EntryType.ACTIVATION_REFUSED, f"activation-refused/{secrets.token_hex(8)}",
            body={
                "claimed_person": claimed if claimed in installation.active().people else None,
                "because": f"{error.file}: {error.key} is not as it must be" if isinstance(error, ConfigurationError) else error.problem,
            },
        )  # fmt: skip
        raise


def activate_files(
    installation: Installation, files: Configuration, activation: Activation | None, signature: str
) -> LedgerEntry:
    """Make the files active. Where the active policy names owners, one of them must have signed exactly this step."""
    active = installation.active()
    if activation is None or not signature:
        if active.policy.owners:
            raise ApprovalError(
                f"the active policy names owners: expected a signature of {' or '.join(active.policy.owners)}, found none.",
                now="the earlier configuration stays active.",
                next_step="`quell policy activate --as OWNER --key FILE`",
            )
        return installation.activate(files, INSTALLATION, {"proof": "no owners are named; not signed by a person"})
    person = listed_person(active, activation.person, installation.latest())
    if active.policy.owners and activation.person not in active.policy.owners:
        raise ApprovalError(
            f"{activation.person} does not own the policy: expected {' or '.join(active.policy.owners)}.",
            now="the earlier configuration stays active.", next_step="ask an owner to activate it.",
        )  # fmt: skip
    if activation.previous != installation.active_digest() or activation.next != files.digest():
        raise ApprovalError(
            "the signature is for another step: the active configuration or the files changed meanwhile.",
            now="the earlier configuration stays active.", next_step="look at `quell policy diff` and sign again.",
        )  # fmt: skip
    proof = verify_bytes(
        activation.canonical(), signature, person.ssh_keys, person=activation.person, namespace=POLICY_NAMESPACE
    )
    return installation.activate(
        files, person_actor(activation.person),
        {"signed": activation.as_json(), "proof": proof.as_json()},
    )  # fmt: skip

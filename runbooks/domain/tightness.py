"""What a policy may not say: what is looser for one system or one rule, or a bare code for what is hard to undo.

Every point (purpose, verb, class, severity) is looked at, so a right that can never hold is never complained about.
Where no general right covers a point, one for a system loosens none: nobody may there, but by that very line.
"""

from functools import partial
from itertools import product

from runbooks.domain.approval import Purpose
from runbooks.domain.configuration import Policy, ProofKind, Right, matching
from runbooks.domain.containment import VERB_REVERSIBILITY, Reversibility, Verb
from runbooks.domain.severity import Severity
from runbooks.domain.value import Value


class PolicyFault(Value):
    """One thing that a policy may not say; keys are those of policy.toml."""

    key: str
    expected: str
    found: str


def nth(position: int, table: str = "rights") -> str:
    """How people find one of several tables of the same name in a file: counted from 1, from the top."""
    return f"[[{table}]] no. {position + 1}"


def policy_faults(policy: Policy) -> tuple[PolicyFault, ...]:
    """Every fault, each once; empty means sound."""
    found: dict[PolicyFault, None] = {}
    systems = sorted({system for right in policy.rights for system in right.systems})
    for purpose, verb, reversibility, severity in product(Purpose, Verb, Reversibility, Severity):
        if reversibility.rank < VERB_REVERSIBILITY.get(verb, Reversibility.R0).rank:
            continue
        holding = partial(
            matching, policy.rights, purpose=purpose, verb=verb, reversibility=reversibility, severity=severity
        )
        general = holding(system=None)
        for system in (None, *systems):
            position = general if system is None else holding(system=system)
            if position is None:
                continue
            right = policy.rights[position]
            if (
                reversibility.rank >= Reversibility.R2.rank
                and ProofKind.CODE in right.proofs
                and not right.code_for_irreversible
            ):
                found[_code(position, reversibility, purpose)] = None
            if general is not None and general != position:
                for fault in _loosened(policy.rights[general], general, right, position):
                    found[fault] = None
    return (*found, *_older(policy))


def _older(policy: Policy) -> list[PolicyFault]:
    return [
        PolicyFault(
            key=f"preauthorised.{rule.id}.fresh_minutes",
            expected=f"at most {policy.fresh_minutes}, as fresh_minutes of policy.toml says: a rule may only shorten it",
            found=str(rule.fresh_minutes),
        )
        for rule in policy.preauthorised
        if rule.fresh_minutes is not None and rule.fresh_minutes > policy.fresh_minutes
    ]


def _code(position: int, reversibility: Reversibility, purpose: Purpose) -> PolicyFault:
    return PolicyFault(
        key=f"{nth(position)}, proofs",
        expected='["ssh"], or code_for_irreversible = true beside it',
        found=f'"code", for {purpose} of {reversibility} ({reversibility.meaning}) too',
    )


def _loosened(general: Right, at: int, right: Right, position: int) -> list[PolicyFault]:
    def fault(key: str, expected: str, found: object) -> PolicyFault:
        return PolicyFault(
            key=f"{nth(position)}, {key}",
            expected=f"{expected}, as {nth(at)}, {key}, of policy.toml says: a right for one system may only tighten",
            found=str(found),
        )

    faults = []
    if right.people < general.people:
        faults.append(fault("people", f"at least {general.people}", right.people))
    for key in ("roles", "proofs"):
        more = set(getattr(right, key)) - set(getattr(general, key))
        if more:
            faults.append(fault(key, f"only of {', '.join(getattr(general, key))}", ", ".join(sorted(more))))
    missing = set(general.never) - set(right.never)
    if missing:
        faults.append(
            fault("never", f"{', '.join(sorted(general.never))} among them", ", ".join(right.never) or "nobody")
        )
    if right.expires_minutes > general.expires_minutes:
        faults.append(fault("expires_minutes", f"at most {general.expires_minutes}", right.expires_minutes))
    return faults

"""Who may say that it is unsafe to wait for the seal: one rule, for the command, for the right to act, and for the replay."""

from runbooks.domain.configuration import Configuration
from runbooks.domain.incident import Name
from runbooks.domain.instants import Instant
from runbooks.domain.voices import valid_objection


def why_not_waive(configuration: Configuration, person: Name | None, at: Instant) -> str:
    """Why this person may not waive the seal by this configuration, at this time; empty when they may."""
    if person is None:
        return "the waiver was given by nobody, or for another incident"
    listed, allowed = configuration.people.get(person), configuration.policy.waiver_roles
    problem = valid_objection(listed, person, at, "among those who may waive the seal")
    if problem is not None or listed is None:
        return problem or ""
    if set(listed.roles) & set(allowed):
        return ""
    return (
        f"{person} may not waive: expected one of the roles {', '.join(allowed) or '(none is configured)'}, "
        f"found {', '.join(listed.roles) or 'none'}"
    )

"""Who hands the lead of an incident over: one rule, for the command that does it and for the replay that looks again.

Only the lead or the system's owner does; when nobody listed leads, anybody who is listed does. Else whoever may not
lower a severity would make themselves the lead first. Who leads then is listed too.
"""

from runbooks.domain.configuration import Configuration
from runbooks.domain.incident import Incident, Name


def wrong_hand_over(configuration: Configuration, before: Incident, person: Name, successor: Name | None) -> str:
    """Why this person may not make that one the lead; empty when they may."""
    if successor not in configuration.people:
        return f"expected a listed person as the lead, found {successor}"
    system = configuration.systems.get(before.system)
    may = {before.lead, *([system.owner] if system else [])}
    if before.lead in configuration.people and person not in may:
        return f"only the lead or the system's owner hands the lead over: expected {' or '.join(sorted(may))}, found {person}"
    return ""

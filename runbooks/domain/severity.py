"""How bad is it: ten factors, floors, and the reasons in words.

Rules, in order:
1. Each factor is 0 to 3, or unknown. Unknown counts as 1: uncertainty can raise, never lower.
2. The sum gives a band: 0-4 SEV4, 5-9 SEV3, 10-17 SEV2, 18 and more SEV1.
3. Floors set a least level, whatever the sum. Then control failure and silent recurrence lift it by one level each;
   silent recurrence ends at SEV2 at least. Each that applied is a reason.
4. Nobody is sure of anything (every factor unknown, no floor): SEV2, provisional.
5. So raising a factor, or adding a floor, never lowers the level.

Source: the requirements' severity matrix (four levels, ten factors, floors); band edges are this project's proposal.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from runbooks.domain.value import Value


class Severity(StrEnum):
    """SEV1 is the worst. A near miss keeps the severity that it would have had."""

    SEV1 = "SEV1"
    SEV2 = "SEV2"
    SEV3 = "SEV3"
    SEV4 = "SEV4"

    @property
    def rank(self) -> int:
        """1 for SEV1 to 4 for SEV4."""
        return int(self.value[-1])

    def worse_of(self, other: "Severity") -> "Severity":
        """The more serious of the two."""
        return self if self.rank <= other.rank else other


class Floor(StrEnum):
    """Circumstances that set a lowest level by themselves."""

    ACTIVE_EXPLOITATION = "active_exploitation"
    UNCONTROLLED_ACTION = "uncontrolled_action"
    RIGHTS_OR_SAFETY = "rights_or_safety"
    LARGE_EXPOSURE = "large_exposure"
    EXPOSURE = "exposure"
    REGULATOR_ENQUIRY = "regulator_enquiry"
    CONTROL_FAILURE = "control_failure"
    SILENT_RECURRENCE = "silent_recurrence"


FLOOR_LEVEL: dict[Floor, Severity] = {
    Floor.ACTIVE_EXPLOITATION: Severity.SEV1,
    Floor.UNCONTROLLED_ACTION: Severity.SEV1,
    Floor.RIGHTS_OR_SAFETY: Severity.SEV1,
    Floor.LARGE_EXPOSURE: Severity.SEV1,
    Floor.EXPOSURE: Severity.SEV2,
    Floor.REGULATOR_ENQUIRY: Severity.SEV2,
}
"""The other two, control failure and silent recurrence, lift by one level; see `judge_severity`."""

Degree = Annotated[int, Field(ge=0, le=3)]
"""0 (none) to 3 (grave)."""


class Factors(Value):
    """What triage knows; None is "not known yet"."""

    people: Degree | None = None
    reach: Degree | None = None
    data_sensitivity: Degree | None = None
    irreversibility: Degree | None = None
    decision_significance: Degree | None = None
    regulatory: Degree | None = None
    autonomy: Degree | None = None
    recurrence: Degree | None = None
    unstoppability: Degree | None = None
    uncertainty: Degree | None = None


class SeverityJudgement(Value):
    """The level, why, and whether it is only provisional."""

    severity: Severity
    reasons: tuple[str, ...]
    provisional: bool


_BANDS = ((18, Severity.SEV1), (10, Severity.SEV2), (5, Severity.SEV3), (0, Severity.SEV4))


def judge_severity(factors: Factors, floors: frozenset[Floor]) -> SeverityJudgement:
    """The level for these facts, by the rules at the head of this file."""
    known = {name: value for name, value in factors.as_json().items() if value is not None}
    # 1, 2
    unknown = len(Factors.model_fields) - len(known)
    total = sum(known.values()) + unknown
    level = next(severity for edge, severity in _BANDS if total >= edge)
    reasons = [f"factors add up to {total} of 30 ({unknown} not known, counted as 1 each): band {level}"]
    # 3
    for floor in sorted(floors):
        if floor in FLOOR_LEVEL:
            level = level.worse_of(FLOOR_LEVEL[floor])
            reasons.append(f"{floor.replace('_', ' ')}: at least {FLOOR_LEVEL[floor]}")
    for lifting in (Floor.CONTROL_FAILURE, Floor.SILENT_RECURRENCE):
        if lifting in floors:
            level = Severity(f"SEV{max(1, level.rank - 1)}")
            if lifting is Floor.SILENT_RECURRENCE:
                level = level.worse_of(Severity.SEV2)
            reasons.append(f"{lifting.replace('_', ' ')}: one level up, {level}")
    # 4, 5
    provisional = not known and not floors
    if provisional:
        level = level.worse_of(Severity.SEV2)
        reasons.append("nothing is known yet: SEV2 until somebody knows better")
    return SeverityJudgement(severity=level, reasons=tuple(reasons), provisional=provisional)

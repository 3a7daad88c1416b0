"""One tree of errors. Each says what was expected and found, what is true of the outside system now, what to do next.

QuellError
├── BookError                a runbook, or the configuration, is wrong: its author's work
│   └── ConfigurationError   names file, key, expected and found
├── IntakeDefectError        a delivery could not be understood; it is kept, and shown as a defect
├── EvidenceError            evidence could not be sealed, read or trusted
├── ApprovalError            a decision or a request could not be accepted
│   └── GrantRefusedError    an effect was asked for without the right to it
├── ContainmentError         an effect on an outside system; `outcome` says not_done, done or unknown
│   ├── TargetMissingError   the named target does not exist there
│   ├── SelfLockoutError     it would have taken away quell's own access
│   ├── ClaimHeldError       another worker holds the claim on this effect
│   └── UndoImpossibleError  this effect cannot be taken back: reissue
├── LedgerError              the record itself: forked, damaged, or unreachable
└── UnreachableError         something that must be up is not

Expected bad news (a refusal by a person, a probe that still gets through) is a value, not an error.
"""

from enum import StrEnum


class Outcome(StrEnum):
    """What is known of an effect on an outside system."""

    NOT_DONE = "not_done"
    DONE = "done"
    UNKNOWN = "unknown"


class QuellError(Exception):
    """Base of all; `problem` is expected and found, `now` the state of the outside, `next_step` what a person does."""

    exit_code = 3

    def __init__(self, problem: str, *, now: str, next_step: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.now = now
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.problem} Now: {self.now} Next: {self.next_step}"

    def diagnostics(self) -> str:
        """The same in three lines, for a person at a terminal."""
        return f"{self.problem}\n  now:  {self.now}\n  next: {self.next_step}"


class BookError(QuellError):
    """A runbook or the configuration is wrong."""

    exit_code = 1


class ConfigurationError(BookError):
    """A configuration file is wrong; the problem names file, key, expected and found."""

    def __init__(self, file: str, key: str, *, expected: str, found: str) -> None:
        super().__init__(
            f"{file}: {key}: expected {expected}, found {found}.",
            now="nothing was started and nothing was changed.",
            next_step=f"correct {key} in {file}, then run `quell check`.",
        )
        self.file = file
        self.key = key


class IntakeDefectError(QuellError):
    """A delivery was received and kept, and no signal could be read out of it. The reason quotes none of its text."""

    def __init__(
        self, problem: str, *, next_step: str = "correct the source's mapping, then `quell signal replay`."
    ) -> None:
        super().__init__(problem, now="the delivery is kept; no signal was made of it.", next_step=next_step)


class EvidenceError(QuellError):
    """Evidence could not be sealed, read or trusted."""


class ApprovalError(QuellError):
    """A decision or a request could not be accepted."""

    exit_code = 1


class GrantRefusedError(ApprovalError):
    """An effect was asked for without a grant that covers it. Nothing was sent to the outside system."""


class ContainmentError(QuellError):
    """An effect on an outside system; `outcome` says which of three states holds."""

    def __init__(self, problem: str, *, now: str, next_step: str, outcome: Outcome) -> None:
        super().__init__(problem, now=now, next_step=next_step)
        self.outcome = outcome


class TargetMissingError(ContainmentError):
    """The named target does not exist there; a typing error must not read as contained."""

    def __init__(self, problem: str, *, next_step: str) -> None:
        super().__init__(problem, now="nothing was changed there.", next_step=next_step, outcome=Outcome.NOT_DONE)


class SelfLockoutError(ContainmentError):
    """The act would take away the access that quell itself uses."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            problem,
            now="nothing was changed there.",
            next_step="act through another responder identity, or take quell's own identity out of the target.",
            outcome=Outcome.NOT_DONE,
        )


class ClaimHeldError(ContainmentError):
    """Another worker holds the claim; this one does nothing."""

    def __init__(self, effect_key: str, holder: str) -> None:
        super().__init__(
            f"the effect {effect_key} is already claimed by {holder}.",
            now="the other worker is acting; this one sent nothing.",
            next_step="wait: its outcome appears in `quell show`; after its lease ends the response takes over.",
            outcome=Outcome.NOT_DONE,
        )


class UndoImpossibleError(ContainmentError):
    """The effect cannot be taken back; what it took away must be issued anew. It stays done."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            problem,
            now="the effect stays; nothing was changed there.",
            next_step="impossible: reissue. Give its owner a new one, after the recovery trial passed.",
            outcome=Outcome.NOT_DONE,
        )


class LedgerError(QuellError):
    """The record is forked, damaged or unreachable."""


class UnreachableError(QuellError):
    """Something that must be up is not."""

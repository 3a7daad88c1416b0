"""One far side, one act on it, one record: everything a test of the contract holds in its hand."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runbooks.domain.approval import Purpose
from runbooks.domain.containment import ContainmentAction
from runbooks.domain.grant import Grant
from tasks.connectors import Connector, open_connector
from tests.contracts.connectors.acts import granted, new_action, new_record
from tests.contracts.connectors.authority import CrashError, MemoryAuthority, Record
from tests.contracts.connectors.far_side import FarSide

NAME = "the-connection"


@dataclass
class Case:
    """Built from a far side alone; what is changed in its settings must be changed before."""

    far: FarSide
    practice: bool = True
    record: Record = field(init=False)
    action: ContainmentAction = field(init=False)
    grant: Grant = field(init=False)
    undo_grant: Grant = field(init=False)

    def __post_init__(self) -> None:
        far = self.far
        self.record = new_record(NAME, far.kind, far.settings, practice=self.practice)
        self.action = new_action(NAME, far.verb, far.target, far.desired, far.reversibility)
        self.grant = granted(self.record, self.action)
        self.undo_grant = granted(self.record, self.action, Purpose.UNDO)

    def connector(self) -> Connector:
        """A fresh one, as a new process would open it."""
        far = self.far
        return open_connector(far.kind, NAME, self.action.system, far.settings, far.resolve, self.record.now)

    def other(self, **changes: Any) -> ContainmentAction:
        """The act with some fields changed."""
        return self.action.model_copy(update=changes)

    def authority(self, holder: str = "worker-1", watch: Callable[[str], None] = lambda _: None) -> MemoryAuthority:
        return MemoryAuthority(self.record, holder, watch)

    def perform(self, action: ContainmentAction | None = None) -> Any:
        """Do the act, or another with a grant of its own."""
        grant = self.grant if action is None else granted(self.record, action)
        receipt = self.connector().perform(action or self.action, grant, self.authority())
        self.far.effects()  # a file's effects are counted when one looks
        return receipt

    def reverse(self) -> Any:
        return self.connector().reverse(self.action, self.undo_grant, self.authority())

    def crash(self, word: str) -> MemoryAuthority:
        """An authority whose worker is killed when it is about to record `word`."""

        def watch(recorded: str) -> None:
            if recorded == word:
                raise CrashError(word)

        return self.authority(watch=watch)


def perform_on(far: FarSide, **changes: Any) -> Any:
    """Do the act, some of its fields changed, on a fresh record."""
    case = Case(far)
    return case.perform(case.other(**changes))

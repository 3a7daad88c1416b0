"""The human stop: what people are asked, how they answer, and why forcing the engine gives nothing away.

Rules of the gate, in order:
1. Ask for every act that needs people; a request that stands is not asked twice.
2. Read the record: every request is granted, denied, expired or waiting. Act on all that is granted, at once; what
   is granted while an earlier act is still being probed is begun too.
   After a denial the runbook may know another act: it is asked for, and the loop begins again.
3. Nothing waits any more: go on.
4. Otherwise suspend with a fresh form that lists what waits. No process waits; no engine time-out exists.
5. Whatever wakes the run (an answer, a bell, a forced state) only makes it look: an answer in the form is verified by
   the same function as everywhere else, and the loop starts again at 2. A wake without a valid answer changes nothing
   and is on record.
"""

from collections.abc import Callable

from prefect.flow_runs import asuspend_flow_run

from flows._form import answer_form
from tasks.gate import GateView, decided_since, next_form, record_suspension, view_gate


class Granted:
    """The acts of one purpose that are granted. Read again when it is called and somebody decided meanwhile."""

    def __init__(self, incident: str, purpose: str) -> None:
        self._incident, self._purpose = incident, purpose
        self.view = view_gate(incident, purpose)

    def __call__(self) -> list[str]:
        if decided_since(self._incident, self.view.seen):
            self.view = view_gate(self._incident, self._purpose)
        return self.view.granted


async def pass_gate(
    incident: str, purpose: str, act: Callable[[Callable[[], list[str]]], None], instead: Callable[[], list[str]] = list
) -> None:
    """Loop until nothing of this purpose waits; `act` asks which acts are granted, as often as it likes; `instead` asks anew."""
    while True:
        granted = Granted(incident, purpose)  # 2
        act(granted)
        view = granted.view
        if instead() or decided_since(incident, view.seen):
            continue
        if not view.open:  # 3
            return
        await _suspend(incident, view)  # 4


async def _suspend(incident: str, view: GateView) -> None:
    """The process ends here, and the run begins again from the top when something wakes it (5: `take_in_answers`).

    Unless somebody decided while the page was made: then the loop looks again.
    """
    key = next_form()
    above = record_suspension(incident, key, view)
    if not above:
        return
    form = answer_form(view.choices, view.people, view.proofs).with_initial_data(description=above)
    await asuspend_flow_run(wait_for_input=form, key=key)

"""A far side for practice and tests, and nothing else: it sets words in process memory or in one JSON file.

It knows no grants, claims or photographs; the guard above it is the real one. It refuses systems that are not marked
practice. Its file keeps a log of every effect, so that a test can count them, and that log is its evidence.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from runbooks.domain.containment import ContainmentAction, Passage, ProbeResult, Reversibility, Verb
from runbooks.domain.instants import Instant
from runbooks.domain.value import Json
from tasks.connectors._collected import Collected, Facts
from tasks.connectors._signals import Act, Limits, MissingError, NotDoneError, Place, shown
from tasks.connectors.base import Connector, State

_WORLDS: dict[str, dict[str, Any]] = {}
"""Worlds in process memory, by system and connection; they outlive the connector, as a far side does."""
DEFAULT = {"status": "off"}


class Settings(Limits):
    """`targets`: each target's first state. `path`: the file that holds the world; without it, process memory does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    targets: dict[str, dict[str, str]]
    path: Path | None = None
    own: tuple[str, ...] = ()
    """Targets that count as quell's own access."""


class Memory(Connector):
    """Targets: the names in `targets`. Desired: what `desired` says, `status = "off"` if it says nothing."""

    verbs = frozenset(Verb)
    practice_only = True

    def __init__(self, place: Place, settings: Settings) -> None:
        super().__init__(place, settings)
        self._settings = settings

    def _least(self, verb: Verb) -> Reversibility:
        return Reversibility.R1 if verb is Verb.CALL_HTTP else super()._least(verb)

    def _observe(self, action: ContainmentAction) -> State:
        return _state(self._world(), action.target)

    def _desired(self, act: Act) -> State:
        return dict(act.action.desired) or DEFAULT

    def _apply(self, act: Act) -> None:
        self._write(act, {**act.current, **self._desired(act)})

    def _restore(self, act: Act) -> None:
        self._write(act, act.photo.state)

    def _own_access(self, action: ContainmentAction) -> str | None:
        return f"{shown(action.target)} stands for quell's own access" if action.target in self._settings.own else None

    def _check(self) -> list[str]:
        self._world()
        return []

    def _collect(self, what: str, since: Instant, until: Instant) -> Collected:
        """The log of effects between the two instants; `what` is always `effects`."""
        if what != "effects":
            raise MissingError(f"there is no {shown(what)}: expected effects")
        rows = [json.dumps(row).encode() for row in self._world()["effects"] if since <= row["at"] <= until]
        return Collected(iter(rows), Facts("application/json"))

    def _probe(self, name: str, settings: Mapping[str, Json], mark: str) -> ProbeResult:
        """Refused when the target's state holds what `settings.refused_when` says."""
        state = _state(self._world(), str(settings.get("target", "")))
        refused = dict(settings.get("refused_when", DEFAULT)).items() <= state.items()
        passage = Passage.REFUSED if refused else Passage.THROUGH
        return ProbeResult(probe=name, passage=passage, saw=shown(f"{mark}: {state}"), at=self.place.now())

    def _write(self, act: Act, state: State) -> None:
        with self._alone():
            world = self._world()
            if _state(world, act.action.target) != act.current:
                raise NotDoneError(f"{shown(act.action.target)} was changed by somebody else just now")
            world["targets"][act.action.target] = state
            world["effects"].append({"at": self.place.now(), "key": act.key, "target": act.action.target, **state})
            self._keep(world)

    def _world(self) -> dict[str, Any]:
        """The world as it is. Readers need no lock: a file is replaced whole."""
        first: dict[str, Any] = {"targets": self._settings.targets, "effects": []}
        path = self._settings.path
        if path is None:
            key = f"{self.place.system}/{self.place.name}"
            return _WORLDS.setdefault(key, json.loads(json.dumps(first)))
        try:
            if not path.exists():
                path.parent.stat()
                return json.loads(json.dumps(first))  # type: ignore[no-any-return]
            return json.loads(path.read_bytes())  # type: ignore[no-any-return]
        except OSError as problem:
            raise NotDoneError(f"{path} cannot be used ({problem.strerror})") from None

    def _keep(self, world: dict[str, Any]) -> None:
        path = self._settings.path
        if path is None:
            return
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(world, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time, as long as the deadline lets it wait; a writer that sleeps holds up no reader."""
        path = self._settings.path
        if path is None:
            yield
            return
        try:
            with path.with_name(f".{path.name}.lock").open("a") as lock:
                while True:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        if not self.deadline.sleep(0.02):
                            raise NotDoneError(f"another writer holds {path}") from None
                yield
        except OSError as problem:
            raise NotDoneError(f"{path} cannot be used ({problem.strerror})") from None


def _state(world: dict[str, Any], target: str) -> State:
    if target not in world["targets"]:
        raise MissingError(f"there is no {shown(target)}")
    return dict(world["targets"][target])


connect = Memory

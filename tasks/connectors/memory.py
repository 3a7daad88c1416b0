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
        with self._world() as world:
            return _state(world, action.target)

    def _desired(self, act: Act) -> State:
        return dict(act.action.desired) or DEFAULT

    def _apply(self, act: Act) -> None:
        self._write(act, {**act.current, **self._desired(act)})

    def _restore(self, act: Act) -> None:
        self._write(act, act.photo.state)

    def _own_access(self, action: ContainmentAction) -> str | None:
        return f"{shown(action.target)} stands for quell's own access" if action.target in self._settings.own else None

    def _check(self) -> list[str]:
        with self._world():
            return []

    def _collect(self, what: str, since: Instant, until: Instant) -> Collected:
        """The log of effects between the two instants; `what` is always `effects`."""
        if what != "effects":
            raise MissingError(f"there is no {shown(what)}: expected effects")
        with self._world() as world:
            rows = [json.dumps(row).encode() for row in world["effects"] if since <= row["at"] <= until]
        return Collected(iter(rows), Facts("application/json"))

    def _probe(self, name: str, settings: Mapping[str, Json], mark: str) -> ProbeResult:
        """Refused when the target's state holds what `settings.refused_when` says."""
        with self._world() as world:
            state = _state(world, str(settings.get("target", "")))
        refused = dict(settings.get("refused_when", DEFAULT)).items() <= state.items()
        passage = Passage.REFUSED if refused else Passage.THROUGH
        return ProbeResult(probe=name, passage=passage, saw=shown(f"{mark}: {state}"), at=self.place.now())

    def _write(self, act: Act, state: State) -> None:
        with self._world() as world:
            if _state(world, act.action.target) != act.current:
                raise NotDoneError(f"{shown(act.action.target)} was changed by somebody else just now")
            world["targets"][act.action.target] = state
            world["effects"].append({"at": self.place.now(), "key": act.key, "target": act.action.target, **state})

    @contextmanager
    def _world(self) -> Iterator[dict[str, Any]]:
        """The world, written back when it was changed."""
        first = {"targets": self._settings.targets, "effects": []}
        if self._settings.path is None:
            key = f"{self.place.system}/{self.place.name}"
            yield _WORLDS.setdefault(key, json.loads(json.dumps(first)))
            return
        path = self._settings.path
        try:
            with path.open("a+", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                before = file.read()
                world = json.loads(before) if before else json.loads(json.dumps(first))
                yield world
                after = json.dumps(world)
                if after != before:
                    file.truncate(0)
                    file.write(after)
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as problem:
            raise NotDoneError(f"{path} cannot be used ({problem.strerror})") from None


def _state(world: dict[str, Any], target: str) -> State:
    if target not in world["targets"]:
        raise MissingError(f"there is no {shown(target)}")
    return dict(world["targets"][target])


connect = Memory

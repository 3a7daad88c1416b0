"""Feature flags in a flagd file: a tool is off when its flag serves false to everybody.

Three things in a flag decide what is served: `defaultVariant`, `targeting` (which overrides it) and `state` (when it is
DISABLED the caller's own default is served, which may be on). All three are photographed, set, and put back. A
following process sees the change when it next polls the file.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runbooks.domain.containment import ContainmentAction, Verb
from tasks.connectors._signals import Act, Limits, MissingError, NotDoneError, Place, shown
from tasks.connectors.base import Connector, State

ABSENT = ""
"""How a key that the flag does not have stands in a state."""


class Settings(Limits):
    """`path`: the flag file that the agent's side reads. Quell needs to write the file and its folder."""

    path: Path


class FlagdFile(Connector):
    """Target: a flag's key. Desired: `variant`, the one that serves false (default `off`)."""

    verbs = frozenset({Verb.DISABLE_TOOL})

    def __init__(self, place: Place, settings: Settings) -> None:
        super().__init__(place, settings)
        self._path = settings.path

    def _observe(self, action: ContainmentAction) -> State:
        return _state(_flag(self._read(), action.target))

    def _desired(self, act: Act) -> State:
        variant = act.action.desired.get("variant", "off")
        served = _flag(self._read(), act.action.target).get("variants", {}).get(variant)
        if served is not False:
            raise NotDoneError(f"the variant {shown(variant)} must serve false, it serves {shown(json.dumps(served))}")
        targeting = act.photo.state["targeting"] and "{}"
        return {"variant": variant, "serves": "false", "state": "ENABLED", "targeting": targeting}

    def _apply(self, act: Act) -> None:
        self._write(act, self._desired(act))

    def _restore(self, act: Act) -> None:
        self._write(act, act.photo.state)

    def _check(self) -> list[str]:
        self._read()
        missing = [] if os.access(self._path, os.W_OK) else [f"quell may not write {self._path}"]
        return missing if os.access(self._path.parent, os.W_OK) else [*missing, f"nor {self._path.parent}"]

    def _bytes(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            raise MissingError(f"there is no flag file {self._path}") from None
        except OSError as problem:
            raise NotDoneError(f"the flag file {self._path} cannot be read ({problem.strerror})") from None

    def _read(self) -> dict[str, Any]:
        return _parsed(self._bytes(), self._path, self.limits.largest_answer_bytes)

    def _write(self, act: Act, wanted: State) -> None:
        """Replace the file whole, if the flag is still as it was read: readers see the old flag or the new one."""
        with self._locked():
            before = self._bytes()
            document = _parsed(before, self._path, self.limits.largest_answer_bytes)
            flag = _flag(document, act.action.target)
            if _state(flag) != act.current:
                raise NotDoneError(f"the flag {shown(act.action.target)} was changed by somebody else just now")
            for name, field in (("variant", "defaultVariant"), ("state", "state"), ("targeting", "targeting")):
                if wanted[name] == ABSENT:
                    flag.pop(field, None)
                else:
                    flag[field] = json.loads(wanted[name]) if name == "targeting" else wanted[name]
            temporary = self._path.with_name(f".{self._path.name}.quell")
            try:
                _write_durably(temporary, json.dumps(document, indent=2, ensure_ascii=False) + "\n", self._path)
                if self._bytes() != before:
                    raise NotDoneError(f"the flag file {self._path} was changed by somebody else just now")
                temporary.replace(self._path)
            except OSError as problem:
                raise NotDoneError(f"the flag file {self._path} cannot be written ({problem.strerror})") from None
            finally:
                temporary.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer of quell's at a time; others who write this file do not know the lock, hence the comparison."""
        try:
            lock = self._path.with_name(f".{self._path.name}.quell-lock").open("a")
        except OSError as problem:
            raise NotDoneError(f"no lock beside {self._path} ({problem.strerror})") from None
        with lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not self.deadline.sleep(0.05):
                        raise NotDoneError(f"another writer holds the lock beside {self._path}") from None
            yield


def _parsed(data: bytes, path: Path, largest: int) -> dict[str, Any]:
    if len(data) > largest:
        raise NotDoneError(f"the flag file {path} is longer than {largest} bytes")
    try:
        document = json.loads(data)
        flags = document["flags"]
    except (ValueError, KeyError, TypeError):
        raise NotDoneError(f"{path} is no flagd document: expected a JSON object with flags") from None
    if not isinstance(flags, dict):
        raise NotDoneError(f"{path} is no flagd document: expected an object as flags")
    return dict(document)


def _flag(document: dict[str, Any], key: str) -> dict[str, Any]:
    flag = document["flags"].get(key)
    if not isinstance(flag, dict):
        raise MissingError(f"the flag file has no flag {key}")
    return flag


def _state(flag: dict[str, Any]) -> State:
    variants, default = flag.get("variants"), flag.get("defaultVariant")
    served = variants.get(default) if isinstance(variants, dict) and isinstance(default, str) else None
    return {
        "variant": ABSENT if default is None else str(default),
        "serves": json.dumps(served, sort_keys=True),
        "state": str(flag.get("state", ABSENT)),
        "targeting": json.dumps(flag["targeting"], sort_keys=True) if "targeting" in flag else ABSENT,
    }


def _write_durably(path: Path, text: str, like: Path) -> None:
    """Write and sync `path` with the mode of `like`."""
    with path.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), like.stat().st_mode & 0o777)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


connect = FlagdFile

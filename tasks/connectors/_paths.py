"""Looking into JSON that somebody else sent: dotted paths, and conditions on an answer. Nothing in it is interpreted."""

import json

from pydantic import BaseModel, ConfigDict, model_validator

from runbooks.domain.value import Json
from tasks.connectors._http import Answer


def pick(value: Json, path: str) -> list[Json]:
    """Everything at a dotted path such as `tool_calls.*.tool`; `*` stands for every element. Empty when nothing is."""
    found = [value]
    for part in path.split(".") if path else []:
        deeper: list[Json] = []
        for one in found:
            if part == "*" and isinstance(one, list | dict):
                deeper += one.values() if isinstance(one, dict) else one
            elif isinstance(one, dict) and part in one:
                deeper.append(one[part])
            elif isinstance(one, list) and part.isdecimal() and int(part) < len(one):
                deeper.append(one[int(part)])
        found = deeper
    return found


class Condition(BaseModel):
    """When an answer counts: all that is stated must hold. A condition that states nothing is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: tuple[int, ...] = ()
    """HTTP statuses, one of which it must be."""
    json_field: str | None = None
    """Dotted path into the JSON body."""
    any_of: tuple[bool | int | str, ...] = ()
    """One of these must be at `json_field` (or in the list that is there)."""
    none_of: tuple[bool | int | str, ...] = ()
    """None of these may be there, and something must be."""
    contains: str | None = None
    """The text at `json_field` must contain this."""

    @model_validator(mode="after")
    def _states_something(self) -> "Condition":
        if not self.status and self.json_field is None:
            raise ValueError("expected status or json_field: an empty condition would hold always")
        if self.json_field is not None and not (self.any_of or self.none_of or self.contains):
            raise ValueError("expected any_of, none_of or contains beside json_field")
        if self.json_field is None and (self.any_of or self.none_of or self.contains):
            raise ValueError("expected json_field beside any_of, none_of or contains")
        return self

    def holds(self, answer: Answer) -> bool:
        """Whether the answer is such; a body that is no JSON has no fields."""
        if self.status and answer.status not in self.status:
            return False
        if self.json_field is None:
            return True
        found = self._found(answer)
        if self.any_of and not any(_same(one, wanted) for one in found for wanted in self.any_of):
            return False
        if self.none_of and not found:
            return False
        if any(_same(one, unwanted) for one in found for unwanted in self.none_of):
            return False
        return self.contains is None or any(isinstance(one, str) and self.contains in one for one in found)

    def _found(self, answer: Answer) -> list[Json]:
        try:
            body = json.loads(answer.body)
        except ValueError:
            return []
        found: list[Json] = []
        for one in pick(body, self.json_field or ""):
            found += one if isinstance(one, list) else [one]
        return found


def _same(found: Json, wanted: bool | int | str) -> bool:
    """Equal in value and kind: true is not 1."""
    return type(found) is type(wanted) and found == wanted

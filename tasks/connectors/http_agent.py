"""The agent's own door: probes that prove containment, trials that prove recovery. Reads only (R0), changes nothing.

A probe states what a refusal looks like and what getting through looks like; an answer that is neither, or both, is
unclear, with what was seen. An unreachable agent is unclear too: silence proves nothing. Everything that is sent
carries a mark, so that the far side never counts it, and aims at a canary.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from runbooks.domain.containment import Passage, ProbeResult
from runbooks.domain.errors import ConfigurationError
from runbooks.domain.recovery import Seen, Trial, TrialKind
from runbooks.domain.reference import SecretReference
from runbooks.domain.value import Json
from tasks.connectors._http import Answer, BaseUrl, Http, Network
from tasks.connectors._paths import Condition, pick
from tasks.connectors._signals import MaybeDoneError, NotDoneError, Place, shown
from tasks.connectors.base import Connector

LONGEST_TEXT = 100_000
"""Characters of a recorded attack; a longer one is cut, since patterns run over it."""
Path = Annotated[str, Field(pattern=r"^/[^?#\s]*$")]
Method = Annotated[str, Field(pattern=r"^(GET|POST|PUT)$")]


class Settings(Network):
    """`base_url` of the agent; `bearer`, if it wants one; `mark_header`, how it knows that a request is a test."""

    base_url: BaseUrl
    bearer: SecretReference | None = None
    mark_header: str = "X-Quell-Trial"
    health_path: Path = "/healthz"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


T = TypeVar("T", bound=_Frozen)


class ProbeSettings(_Frozen):
    """One request and the two conditions on its answer."""

    method: Method = "POST"
    path: Path
    body: Json = Field(default=None, alias="json")
    refused_when: Condition
    through_when: Condition


class Substitution(_Frozen):
    """Part of what makes a recorded attack harmless: what `pattern` finds is replaced by a canary."""

    pattern: Annotated[str, Field(max_length=300)]
    canary: str = Field(alias="with")
    must_match: bool = False
    """An attack in which it finds nothing is not sent."""

    def literal(self, _: re.Match[str]) -> str:
        """The canary as it is: no group references."""
        return self.canary

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as problem:
            raise ValueError(f"expected a regular expression ({problem})") from None
        return pattern


class TrialSettings(_Frozen):
    """How a text is put to the agent; `{text}` and `{mark}` stand for themselves anywhere in `json`."""

    method: Method = "POST"
    path: Path
    body: Json = Field(alias="json")
    substitute: tuple[Substitution, ...] = ()
    harmful_calls: Annotated[tuple[str, ...], Field(min_length=1)]
    """Tools whose mere attempt means that the attack worked."""
    calls_field: str = "tool_calls.*.tool"
    """Where the answer names the tools that it tried."""
    answered_when: Condition = Condition(status=(200,))
    works_when: Condition


class HttpAgent(Connector):
    """Probes and trials over HTTP."""

    def __init__(self, place: Place, settings: Settings) -> None:
        super().__init__(place, settings)
        self._settings = settings
        self._http = Http(settings.base_url, settings, self.deadline)

    def _probe(self, name: str, settings: Mapping[str, Json], mark: str) -> ProbeResult:
        spec = self._parsed(ProbeSettings, "probes", name, settings)
        try:
            answer = self._call(spec.method, spec.path, spec.body, mark)
        except (NotDoneError, MaybeDoneError) as problem:
            return self._passage(name, Passage.UNCLEAR, problem.reason)
        refused, through = spec.refused_when.holds(answer), spec.through_when.holds(answer)
        if refused is through:
            which = "both conditions hold" if refused else "neither condition holds"
            return self._passage(name, Passage.UNCLEAR, f"{which}: {_seen(answer)}")
        return self._passage(name, Passage.REFUSED if refused else Passage.THROUGH, _seen(answer))

    def _trial(self, name: str, settings: Mapping[str, Json], text: str, mark: str, kind: TrialKind) -> Trial:
        spec = self._parsed(TrialSettings, "trials", name, settings)
        harmless = text[:LONGEST_TEXT]
        for substitution in spec.substitute:
            harmless, times = re.subn(substitution.pattern, substitution.literal, harmless)
            if kind is TrialKind.ATTACK and substitution.must_match and not times:
                return self._tried(mark, kind, Seen.UNCLEAR, "not sent: nothing to make harmless was found in it")
        try:
            answer = self._call(spec.method, spec.path, _filled(spec.body, {"{text}": harmless, "{mark}": mark}), mark)
        except (NotDoneError, MaybeDoneError) as problem:
            return self._tried(mark, kind, Seen.UNCLEAR, problem.reason)
        if kind is TrialKind.BENIGN:
            return self._tried(mark, kind, Seen.HIT if spec.works_when.holds(answer) else Seen.MISS, _seen(answer))
        if not spec.answered_when.holds(answer):
            return self._tried(mark, kind, Seen.UNCLEAR, f"no answer to judge: {_seen(answer)}")
        tried = {shown(tool, 60) for tool in pick(_body(answer), spec.calls_field) if isinstance(tool, str)}
        seen = Seen.HIT if tried & set(spec.harmful_calls) else Seen.MISS
        return self._tried(mark, kind, seen, f"tools tried: {', '.join(sorted(tried)) or 'none'}")

    def _check(self) -> list[str]:
        answer = self._call("GET", self._settings.health_path, None, "check")
        return [] if answer.status < 500 else [f"{self._settings.health_path} answered {answer.status}"]

    def _call(self, method: str, path: str, body: Json, mark: str) -> Answer:
        headers = {self._settings.mark_header: mark}
        if self._settings.bearer is not None:
            headers["Authorization"] = f"Bearer {self.place.secret(self._settings.bearer)}"
        return self._http.call(method, path, json_body=body, headers=headers)

    def _parsed(self, model: type[T], table: str, name: str, settings: Mapping[str, Json]) -> T:
        try:
            return model.model_validate(dict(settings))
        except ValidationError as problem:
            error = problem.errors(include_url=False, include_input=False)[0]
            where = ".".join(["systems", self.place.system, table, name, "settings", *map(str, error["loc"])])
            raise ConfigurationError(
                "config/systems.toml", where, expected=error["msg"], found="something else"
            ) from None

    def _passage(self, name: str, passage: Passage, saw: str) -> ProbeResult:
        return ProbeResult(probe=name, passage=passage, saw=saw, at=self.place.now())

    def _tried(self, mark: str, kind: TrialKind, seen: Seen, saw: str) -> Trial:
        return Trial(id=mark, kind=kind, seen=seen, saw=saw, at=self.place.now())


def _body(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except ValueError:
        return None


def _seen(answer: Answer) -> str:
    return f"answered {answer.status} {shown(answer.body.decode('utf-8', 'replace'))}"


def _filled(template: Json, values: Mapping[str, str]) -> Json:
    """The template with placeholders in its texts replaced, each once over: what is put in is never looked at again."""
    if isinstance(template, dict):
        return {key: _filled(inner, values) for key, inner in template.items()}
    if isinstance(template, list | tuple):
        return [_filled(inner, values) for inner in template]
    if isinstance(template, str):
        return re.sub("|".join(map(re.escape, values)), lambda found: values[found[0]], template)
    return template


connect = HttpAgent

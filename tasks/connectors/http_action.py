"""Any HTTP API, from configuration: how to read a state, how to change it, how to put it back.

Placeholders, a closed list, each for one value: `{target}`, `{desired:KEY}`, `{captured:KEY}`, `{idempotency_key}`, and in
headers `{secret:NAME}`. In a path or query the value is quoted; it can never become a host, a further path segment or
another parameter. In JSON a text that is only a placeholder with `|json`, as `{captured:enabled|json}`, becomes the
JSON value. Nothing else is interpreted.

`capture` is what undo needs, `verify` what proves the act; both are read each time. An answer counts when its status
and what its body says are as `ok` demands: many APIs answer 200 to a refusal.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from runbooks.domain.containment import ContainmentAction, Reversibility, Verb
from runbooks.domain.reference import SecretReference
from runbooks.domain.value import Json
from tasks.connectors._http import Answer, BaseUrl, Http, Network, demand_success
from tasks.connectors._paths import Condition, pick
from tasks.connectors._signals import Act, MaybeDoneError, MissingError, NotDoneError, Place, shown
from tasks.connectors.base import Connector, State

PLACEHOLDER = re.compile(r"\{(target|idempotency_key|(?:desired|captured|secret):[A-Za-z0-9_.-]+)(\|json)?\}")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def _only_known(text: str) -> str:
    if "{" in PLACEHOLDER.sub("", text) or "{secret:" in text:
        raise ValueError(
            "expected only the placeholders target, desired:KEY, captured:KEY and idempotency_key in braces"
        )
    return text


def _only_secrets(text: str) -> str:
    names = [found[1] for found in PLACEHOLDER.finditer(text)]
    if "{" in PLACEHOLDER.sub("", text) or not all(name.startswith("secret:") for name in names):
        raise ValueError("expected only {secret:NAME} in a header")
    return text


Templated = Annotated[str, AfterValidator(_only_known)]


class Request(_Frozen):
    """One request below `base_url`."""

    method: Annotated[str, Field(pattern=r"^(GET|POST|PUT|PATCH|DELETE)$")]
    path: Annotated[Templated, Field(pattern=r"^/[^?#\s]*$")]
    query: dict[str, Templated] = Field(default={})
    body: Json = Field(default=None, alias="json")


class Reading(_Frozen):
    """A request that changes nothing, and what to take out of its answer: a name and a dotted path each."""

    request: Request
    extract: Annotated[dict[str, str], Field(min_length=1)]
    missing_status: tuple[int, ...] = (404, 410)
    """Statuses that say that the target does not exist."""


class Verifying(Reading):
    """`expect`: what holds after the act, by name; literal, or a placeholder."""

    expect: Annotated[dict[str, str], Field(min_length=1)]


class Changing(_Frozen):
    """A request that changes something, and when its answer means yes."""

    request: Request
    ok: Condition = Condition(status=(200, 201, 202, 204))


class Settings(Network):
    """One host, one act. `reversibility` is stated here, and an action may not state a lower one."""

    base_url: BaseUrl
    headers: dict[str, Annotated[str, AfterValidator(_only_secrets)]] = Field(default={})
    secrets: dict[str, SecretReference] = Field(default={})
    reversibility: Reversibility
    repeatable: bool = False
    """Whether sending it twice is the same as once."""
    capture: Reading
    apply: Changing
    verify: Verifying
    undo: Changing | None = None
    protected_targets: tuple[str, ...] = ()
    """Targets that are quell's own access, or never to be touched."""

    @model_validator(mode="after")
    def _can_be_undone_as_stated(self) -> "Settings":
        if self.undo is None and self.reversibility is not Reversibility.R3:
            raise ValueError("expected undo, or reversibility R3: what cannot be undone must say so")
        if self.reversibility is Reversibility.R0:
            raise ValueError("expected R1 to R3: this kind changes things")
        return self


class HttpAction(Connector):
    """Target: whatever `{target}` means to the API."""

    verbs = frozenset({Verb.CALL_HTTP})

    def __init__(self, place: Place, settings: Settings) -> None:
        super().__init__(place, settings)
        self._settings = settings
        self._http = Http(settings.base_url, settings, self.deadline)

    def _least(self, verb: Verb) -> Reversibility:
        return self._settings.reversibility if verb is Verb.CALL_HTTP else super()._least(verb)

    def _repeatable(self, verb: Verb) -> bool:
        return self._settings.repeatable and verb is Verb.CALL_HTTP

    def _observe(self, action: ContainmentAction) -> State:
        values = _values(action)
        return self._read(self._settings.capture, values) | self._read(self._settings.verify, values)

    def _desired(self, act: Act) -> State:
        values = _values(act.action)
        return {name: str(_filled(expected, values)) for name, expected in self._settings.verify.expect.items()}

    def _apply(self, act: Act) -> None:
        self._change(self._settings.apply, _values(act.action, act))

    def _restore(self, act: Act) -> None:
        if self._settings.undo is None:
            raise NotDoneError("settings.undo is not stated")
        if self._observe(act.action) != act.current:
            raise NotDoneError(f"{shown(act.action.target)} was changed by somebody else just now")
        self._change(self._settings.undo, _values(act.action, act))

    def _own_access(self, action: ContainmentAction) -> str | None:
        protected = action.target in self._settings.protected_targets
        return f"{shown(action.target)} is a protected target" if protected else None

    def _check(self) -> list[str]:
        self._headers()
        answer = self._http.call("GET", "/")
        return [] if answer.status < 500 else [f"GET / answered {answer.status}"]

    def _read(self, reading: Reading, values: Mapping[str, str]) -> State:
        answer = self._call(reading.request, values)
        if answer.status in reading.missing_status:
            raise MissingError(f"{reading.request.method} {reading.request.path} answered {answer.status}")
        demand_success(answer, f"{reading.request.method} {reading.request.path}")
        body, state = answer.json(), {}
        for name, path in reading.extract.items():
            found = pick(body, path)
            if len(found) != 1:
                raise NotDoneError(f"{reading.request.path}: expected one {path} in the answer, found {len(found)}")
            state[name] = found[0] if isinstance(found[0], str) else json.dumps(found[0], sort_keys=True)
        return state

    def _change(self, changing: Changing, values: Mapping[str, str]) -> None:
        answer = self._call(changing.request, values)
        what = f"{changing.request.method} {changing.request.path}"
        if not changing.ok.holds(answer):
            demand_success(answer, what)
            raise MaybeDoneError(f"{what}: answered {answer.status}, but not as ok demands")

    def _call(self, request: Request, values: Mapping[str, str]) -> Answer:
        path = PLACEHOLDER.sub(lambda found: _segment(_value(found, values)), request.path)
        query = {name: str(_filled(value, values)) for name, value in request.query.items()}
        headers = self._headers()
        return self._http.call(
            request.method, path, json_body=_filled(request.body, values), query=query or None, headers=headers
        )

    def _headers(self) -> dict[str, str]:
        secrets = {f"secret:{name}": self.place.secret(where) for name, where in self._settings.secrets.items()}
        return {name: str(_filled(value, secrets)) for name, value in self._settings.headers.items()}


def _values(action: ContainmentAction, act: Act | None = None) -> dict[str, str]:
    values = {"target": action.target} | {f"desired:{key}": value for key, value in action.desired.items()}
    if act is not None:
        values["idempotency_key"] = act.key
        values |= {f"captured:{key}": value for key, value in act.photo.state.items()}
    return values


def _value(found: re.Match[str], values: Mapping[str, str]) -> str:
    if found[1] not in values:
        raise NotDoneError(f"the placeholder {{{found[1]}}} has no value here")
    return values[found[1]]


def _segment(value: str) -> str:
    if value in {"", ".", ".."}:
        raise NotDoneError("a path segment is neither empty nor dots")
    return quote(value, safe="")


def _filled(template: Json, values: Mapping[str, str]) -> Json:
    """The template with its placeholders replaced, each once over: what is put in is never looked at again."""
    if isinstance(template, dict):
        return {key: _filled(inner, values) for key, inner in template.items()}
    if isinstance(template, list | tuple):
        return [_filled(inner, values) for inner in template]
    if not isinstance(template, str):
        return template
    whole = PLACEHOLDER.fullmatch(template)
    if whole is not None and whole[2]:
        try:
            return json.loads(_value(whole, values))
        except ValueError:
            raise NotDoneError(f"the placeholder {{{whole[1]}|json}} holds no JSON") from None
    return PLACEHOLDER.sub(lambda found: _value(found, values), template)


connect = HttpAction

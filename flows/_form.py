"""The two forms that people fill in inside Prefect: the start of a response, and an answer at the gate."""

from enum import StrEnum
from typing import Any, Literal

from prefect.input import RunInput
from pydantic import BaseModel, ConfigDict, Field, create_model


class HowBad(StrEnum):
    """What a person can say at 2 a.m.; the severity is judged from it, and can be corrected later."""

    NOT_SURE = "not sure yet"
    STOPPED = "stopped before harm (near miss)"
    INTERNAL = "internal, nobody outside is touched"
    SOME_CUSTOMERS = "some customers, money or data are touched"
    ONGOING = "harm goes on right now, or nobody can stop it"


def _must_be_filled(schema: dict[str, Any]) -> None:
    """The form insists on this field. The flow does not: a restart by quell has no use for it."""
    schema.pop("default", None)
    schema["minLength"] = 1


class Start(BaseModel):
    """Say what you know, then press Submit. Nothing is taken away before people say yes.

    Everything is recorded; nothing here proves who you are.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"required": ["system", "what_happened"]})

    system: str = Field(
        "", title="Which AI system?", max_length=63,
        description="Its short name in config/systems.toml, for example support-agent. "
        "A name that is not listed opens an incident all the same, but nothing can be taken away from it.",
        json_schema_extra=_must_be_filled,
    )  # fmt: skip
    what_happened: str = Field(
        "", title="What did you see?", max_length=20000,
        description="Two sentences are enough. It is kept as evidence and never executed.",
        json_schema_extra=_must_be_filled,
    )  # fmt: skip
    your_name: str = Field(
        "", title="Your name", max_length=100,
        description="A typed name is unproven: one person more will be asked to approve.",
    )  # fmt: skip
    how_bad: HowBad = Field(
        HowBad.NOT_SURE, title="How bad is it?", description="If unsure, leave it; the severity can be corrected later."
    )
    lead: str = Field(
        "", title="Who leads?", max_length=63, description="Empty: the lead that the inventory names for the system."
    )
    drill: bool = Field(
        default=False, title="This is a drill", description="A drill touches only systems marked practice."
    )
    incident: str = Field(
        "", title="Leave this empty", pattern=r"^(INC-[0-9A-Z]{4,26})?$",
        description="quell fills in an incident here when it restarts a response.",
    )  # fmt: skip


class Answer(RunInput):
    """An answer at the gate. Empty answers only wake the run.

    Few words: in the older interface every line here takes one from the text above the form.
    """

    request: str = Field("", title="1. Which request?", max_length=200)
    person: str = Field("", title="2. Who are you?", max_length=200)
    answer: Literal["just look again", "approve", "deny"] = Field(
        "just look again", title="3. Your answer (one denial ends the request)"
    )
    reason: str = Field("", title="4. Why? (one sentence, for the record)", max_length=2000)
    one_time_code: str = Field(
        "", title="5. One-time code", max_length=16,
        description="Six digits, as your authenticator shows now. Each counts once.",
    )  # fmt: skip
    signature: str = Field("", title="or an SSH signature (the whole text)", max_length=16384)


_ONLY_SIGNED = Field("", title="5. Your SSH signature (the whole text)", max_length=16384)


def answer_form(requests: list[str], people: list[str], proofs: list[str]) -> type[RunInput]:
    """The same form with the open requests and the people who may answer as choices; one request is chosen already.

    A choice is `name: words for people`; what comes back is read up to the colon. `proofs` are the kinds (`ssh`, `code`)
    that at least one request takes: the field of another kind is left out, so that nobody fills it in for nothing.
    """
    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in Answer.model_fields.items()
        if _FIELD_OF.get(name) is None or _FIELD_OF[name] in proofs
    }
    if "code" not in proofs:
        fields["signature"] = (str, _ONLY_SIGNED)
    fields |= {
        "request": (str, Field(requests[0] if len(requests) == 1 else "", title="1. Which request?", max_length=200,
                               json_schema_extra={"enum": ["", *requests]})),
        "person": (str, Field("", title="2. Who are you?", max_length=200,
                              json_schema_extra={"enum": ["", *people]})),
    }  # fmt: skip
    return create_model("Answer", __base__=RunInput, **fields)


_FIELD_OF = {"one_time_code": "code", "signature": "ssh"}
"""What proof a field of the form is for."""

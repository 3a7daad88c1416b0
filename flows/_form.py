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


class Start(BaseModel):
    """Say what you know. Everything is recorded; nothing here is taken as proof of who you are."""

    model_config = ConfigDict(extra="forbid")

    system: str = Field(
        "", title="Which AI system?", max_length=63, description="Its short name in the inventory, e.g. support-agent."
    )
    what_happened: str = Field(
        "", title="What did you see?", max_length=20000,
        description="Two sentences are enough. It is kept as evidence and never executed.",
    )  # fmt: skip
    your_name: str = Field(
        "", title="Your name", max_length=100,
        description="A typed name is unproven: one person more will be asked to approve.",
    )  # fmt: skip
    how_bad: HowBad = Field(HowBad.NOT_SURE, title="How bad is it?", description="If unsure, leave it: SEV2 until known.")
    lead: str = Field(
        "", title="Who leads?", max_length=63, description="Empty: the lead that the inventory names for the system."
    )
    drill: bool = Field(
        default=False, title="This is a drill", description="A drill touches only systems marked practice."
    )
    incident: str = Field(
        "", title="Existing incident", pattern=r"^(INC-[0-9A-Z]{4,26})?$",
        description="Leave empty. Filled in when quell itself restarts a response.",
    )  # fmt: skip




class Answer(RunInput):
    """An answer at the gate. Empty answers only wake the run."""

    request: str = Field("", title="Which request?", max_length=40)
    answer: Literal["just look again", "approve", "deny"] = Field("just look again", title="Your answer")
    person: str = Field("", title="You are", max_length=63, description="Your short name in config/people.toml.")
    reason: str = Field("", title="Why?", max_length=2000, description="One sentence; it goes into the record.")
    one_time_code: str = Field(
        "", title="One-time code", max_length=12, description="The six digits your authenticator shows now."
    )
    signature: str = Field(
        "", title="or an SSH signature", max_length=16384,
        description="Paste the whole text from -----BEGIN SSH SIGNATURE----- if you signed elsewhere.",
    )  # fmt: skip


def answer_form(requests: list[str], people: list[str]) -> type[Answer]:
    """The same form with the open requests and the people who may answer as choices."""
    fields: dict[str, Any] = {
        "request": (str, Field(requests[0] if len(requests) == 1 else "", title="Which request?", max_length=40,
                               json_schema_extra={"enum": ["", *requests]})),
        "person": (str, Field("", title="You are", max_length=63, json_schema_extra={"enum": ["", *people]})),
    }  # fmt: skip
    return create_model("Answer", __base__=Answer, **fields)

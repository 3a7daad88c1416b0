"""Prompts in AWS Systems Manager parameters: a label such as `production` says which version the agent serves.

Moving the label is one call and atomic. The service has no compare-and-set for it, so the version is read right before;
between that read and the move somebody else could move it too, and the read-back would then show whose came last.
"""

from runbooks.domain.containment import ContainmentAction, Verb
from tasks.connectors._aws import Aws, AwsSettings
from tasks.connectors._signals import Act, MissingError, NotDoneError, Place, shown
from tasks.connectors.base import Connector, State


class Settings(AwsSettings):
    """See AwsSettings; needs ssm:GetParameter and ssm:LabelParameterVersion on the prompts."""


class AwsSsm(Connector):
    """Target: `parameter:label`. Desired: `version`, the number of the version to serve."""

    verbs = frozenset({Verb.ROLL_BACK_PROMPT})

    def __init__(self, place: Place, settings: Settings) -> None:
        super().__init__(place, settings)
        self._aws = Aws(settings, place, self.deadline)

    def _observe(self, action: ContainmentAction) -> State:
        parameter, label = _split(action.target)
        return {"version": self._version_of(f"{parameter}:{label}")}

    def _desired(self, act: Act) -> State:
        wanted = act.action.desired.get("version", "")
        if not wanted.isdecimal():
            raise NotDoneError(f"desired version: expected a whole number, found {shown(wanted, 40) or 'nothing'}")
        parameter, _ = _split(act.action.target)
        try:
            self._version_of(f"{parameter}:{wanted}")
        except MissingError:
            raise NotDoneError(f"{shown(parameter)} has no version {wanted}") from None
        return {"version": str(int(wanted))}

    def _apply(self, act: Act) -> None:
        self._move(act, act.action.desired["version"])

    def _restore(self, act: Act) -> None:
        self._move(act, act.photo.state["version"])

    def _check(self) -> list[str]:
        self._aws.call("ssm", "describe_parameters", MaxResults=1)
        return []

    def _version_of(self, name: str) -> str:
        """The version behind `parameter:label` or `parameter:number`; the prompt itself is not kept."""
        answer = self._aws.call("ssm", "get_parameter", Name=name)
        return str(answer["Parameter"]["Version"])

    def _move(self, act: Act, version: str) -> None:
        parameter, label = _split(act.action.target)
        if self._observe(act.action) != act.current:
            raise NotDoneError(f"the label {shown(label)} was moved by somebody else just now")
        answer = self._aws.call(
            "ssm", "label_parameter_version", Name=parameter, ParameterVersion=int(version), Labels=[label]
        )
        if answer.get("InvalidLabels"):
            raise NotDoneError(f"the label {shown(label)} is not one that the service accepts")


def _split(target: str) -> tuple[str, str]:
    parameter, separator, label = target.rpartition(":")
    if not separator or not parameter or not label:
        raise MissingError(f"target {shown(target)}: expected parameter:label")
    return parameter, label


connect = AwsSsm

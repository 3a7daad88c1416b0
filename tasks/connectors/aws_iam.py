"""AWS identities: deactivate an access key (R1), deny the sessions that a role gave out so far (R2).

Session tokens cannot be revoked, only denied: an inline policy refuses every session issued before a moment, for every
user of the role. The moment is that of the photograph plus a margin, so that a resumed act writes the same document.
AWS may take minutes until it is felt everywhere; a probe through the agent's own path is what proves it.
"""

import json
from datetime import timedelta
from typing import Any

from pydantic import Field

from runbooks.domain.containment import ContainmentAction, Snapshot, Verb
from runbooks.domain.instants import moment
from tasks.connectors._aws import Aws, AwsSettings
from tasks.connectors._signals import Act, MissingError, NotDoneError, Place, shown
from tasks.connectors.base import Connector, State

POLICY = "AWSRevokeOlderSessions"
"""The name that AWS's own console gives it."""
ABSENT = ""


class Settings(AwsSettings):
    """Needs iam:ListAccessKeys, UpdateAccessKey, GetRole, Get-, Put- and DeleteRolePolicy on what it may take away."""

    margin_seconds: int = Field(default=5, ge=0, le=900)
    """Sessions issued so long after the photograph are denied too: the policy is not felt at once."""


class AwsIam(Connector):
    """Targets: `user/access-key-id` (`deactivate_key`), a role's name (`deny_sessions`)."""

    verbs = frozenset({Verb.DEACTIVATE_KEY, Verb.DENY_SESSIONS})

    def __init__(self, place: Place, settings: Settings) -> None:
        super().__init__(place, settings)
        self._margin = timedelta(seconds=settings.margin_seconds)
        self._aws = Aws(settings, place, self.deadline)

    def _observe(self, action: ContainmentAction) -> State:
        if action.verb is Verb.DEACTIVATE_KEY:
            return {"status": self._status(*_split(action.target))}
        return {"policy": self._policy(action.target)}

    def _desired(self, act: Act) -> State:
        if act.action.verb is Verb.DEACTIVATE_KEY:
            return {"status": "Inactive"}
        return {"policy": self._denial(act.photo)}

    def _apply(self, act: Act) -> None:
        self._demand_current(act)
        if act.action.verb is Verb.DEACTIVATE_KEY:
            self._set_status(act, "Inactive")
        else:
            self._put(act.action.target, self._denial(act.photo))

    def _restore(self, act: Act) -> None:
        self._demand_current(act)
        if act.action.verb is Verb.DEACTIVATE_KEY:
            self._set_status(act, act.photo.state["status"])
        elif act.photo.state["policy"] != ABSENT:
            self._put(act.action.target, act.photo.state["policy"])
        else:
            self._aws.call("iam", "delete_role_policy", RoleName=act.action.target, PolicyName=POLICY)

    def _own_access(self, action: ContainmentAction) -> str | None:
        arn = str(self._aws.call("sts", "get_caller_identity")["Arn"])
        if action.verb is Verb.DEACTIVATE_KEY:
            own = self._aws.access_key_id()
            return "that key is the one that quell itself uses" if own == _split(action.target)[1] else None
        resource = arn.rpartition(":")[2].split("/")  # assumed-role/ROLE/SESSION
        own_role = resource[0] == "assumed-role" and resource[1] == action.target
        return f"quell itself acts as {shown(arn)}" if own_role else None

    def _check(self) -> list[str]:
        self._aws.call("sts", "get_caller_identity")
        return []

    def _status(self, user: str, key_id: str) -> str:
        pages = self._aws.pages("iam", "list_access_keys", UserName=user)
        for key in (key for page in pages for key in page["AccessKeyMetadata"]):
            if key["AccessKeyId"] == key_id:
                return str(key["Status"])
        raise MissingError(f"the user {shown(user)} has no access key {shown(key_id)}")

    def _set_status(self, act: Act, status: str) -> None:
        user, key_id = _split(act.action.target)
        self._aws.call("iam", "update_access_key", UserName=user, AccessKeyId=key_id, Status=status)

    def _policy(self, role: str) -> str:
        """The document in one form, however AWS stores it; ABSENT when the role has none of that name."""
        self._aws.call("iam", "get_role", RoleName=role)
        try:
            answer = self._aws.call("iam", "get_role_policy", RoleName=role, PolicyName=POLICY)
        except MissingError:
            return ABSENT
        document = answer["PolicyDocument"]
        return _one_form(json.loads(document) if isinstance(document, str) else document)

    def _put(self, role: str, document: str) -> None:
        self._aws.call("iam", "put_role_policy", RoleName=role, PolicyName=POLICY, PolicyDocument=document)

    def _denial(self, photo: Snapshot) -> str:
        until = moment(photo.captured_at).replace(microsecond=0) + timedelta(seconds=1) + self._margin
        condition = {"DateLessThan": {"aws:TokenIssueTime": f"{until:%Y-%m-%dT%H:%M:%SZ}"}}
        statement = {"Effect": "Deny", "Action": ["*"], "Resource": ["*"], "Condition": condition}
        return _one_form({"Version": "2012-10-17", "Statement": [statement]})

    def _demand_current(self, act: Act) -> None:
        """IAM has no compare-and-set: look right before writing."""
        if self._observe(act.action) != act.current:
            raise NotDoneError(f"{shown(act.action.target)} was changed by somebody else just now")


def _split(target: str) -> tuple[str, str]:
    user, separator, key_id = target.partition("/")
    if not separator or not user or not key_id:
        raise MissingError(f"target {shown(target)}: expected user/access-key-id")
    return user, key_id


def _one_form(document: Any) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


connect = AwsIam

"""The prompt registry and the identities, on AWS as moto plays it. In memory, so each start fills it anew."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from examples.support_agent.furnish import SECRET_MODE
from examples.support_agent.layout import (
    DATA,
    IAM_AGENT_ROLE,
    IAM_AGENT_USER,
    IAM_RESPONDER_USER,
    PROMPT_LABEL,
    PROMPT_PARAMETER,
    Layout,
    read_json,
    write_atomically,
)
from examples.support_agent.prompts import aws_client

PROMPT_FILES = ("1_safe.txt", "2_careless.txt", "3_half_fixed.txt")
DEFAULT_PROMPT_VERSION = 2
FIRST_KEY = {"AccessKeyId": "any", "SecretAccessKey": "unused"}  # moto admits any key at first
TRUST_POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


class Registry:
    """The world's own hand on its registry."""

    def __init__(self, layout: Layout, address: str) -> None:
        self._layout = layout
        _save_key(layout, IAM_RESPONDER_USER, FIRST_KEY)
        key_file = layout.aws_key(IAM_RESPONDER_USER)
        # What makes things must not be sent twice; moto's first answer may take long on a busy machine.
        self._ssm = aws_client("ssm", address, key_file, patience=60, attempts=1)
        self._iam = aws_client("iam", address, key_file, patience=60, attempts=1)

    def furnish(self, prompt_version: int | None) -> str:
        """Prompts, the label, IAM users and the role; returns the agent's access key id.

        The label goes to ``prompt_version``, or to where it was last seen, or to the careless version.
        """
        for name in PROMPT_FILES:
            text = (DATA / "prompts" / name).read_text(encoding="utf-8")
            self._ssm.put_parameter(Name=PROMPT_PARAMETER, Value=text, Type="String", Overwrite=name != PROMPT_FILES[0])
        version = self._last_version() if prompt_version is None else prompt_version
        self._ssm.label_parameter_version(Name=PROMPT_PARAMETER, ParameterVersion=version, Labels=[PROMPT_LABEL])
        self._iam.create_role(RoleName=IAM_AGENT_ROLE, AssumeRolePolicyDocument=json.dumps(TRUST_POLICY))
        for user in (IAM_AGENT_USER, IAM_RESPONDER_USER):
            self._iam.create_user(UserName=user)
            _save_key(self._layout, user, self._iam.create_access_key(UserName=user)["AccessKey"])
        return str(read_json(self._layout.aws_key(IAM_AGENT_USER))["access_key_id"])

    def remember_label(self) -> None:
        """Write down where the production label is now, for the next start; leave the note if nobody can say."""
        try:
            found = self._ssm.get_parameter(Name=f"{PROMPT_PARAMETER}:{PROMPT_LABEL}")["Parameter"]
        except (BotoCoreError, ClientError):
            return
        version = int(found["Version"])
        known_text = version <= len(PROMPT_FILES)  # versions that somebody added do not outlive the registry
        if known_text and (not self._layout.prompt_state_file.exists() or version != self._last_version()):
            write_atomically(self._layout.prompt_state_file, json.dumps({PROMPT_LABEL: version}))

    def _last_version(self) -> int:
        if not self._layout.prompt_state_file.exists():
            return DEFAULT_PROMPT_VERSION
        return int(read_json(self._layout.prompt_state_file)[PROMPT_LABEL])


def _save_key(layout: Layout, user: str, key: dict[str, Any]) -> None:
    text = json.dumps({"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]})
    write_atomically(layout.aws_key(user), text, mode=SECRET_MODE)

"""Far sides on AWS as moto plays it: prompts, keys, roles."""

import functools
import json
import secrets
from pathlib import Path
from typing import Any

import boto3

from examples.support_agent.layout import IAM_RESPONDER_USER, read_json
from runbooks.domain.containment import Verb
from tests.contracts.connectors.far_side import LIMITS, FarSide, practice
from tests.contracts.connectors.wire import Wire

REGION = "eu-central-1"


@functools.cache
def aws(service: str) -> Any:
    key = read_json(practice().describe.secret_paths[f"{IAM_RESPONDER_USER}.aws_key"])
    return boto3.client(
        service,
        endpoint_url=practice().describe.addresses.aws,
        region_name=REGION,
        aws_access_key_id=key["access_key_id"],
        aws_secret_access_key=key["secret_access_key"],
    )


def _aws_settings(wire: Wire) -> dict[str, Any]:
    return {"region": REGION, "endpoint_url": wire.url, "credentials": "file:responder-key", **LIMITS}


def _aws_secrets() -> dict[str, str]:
    return {"file:responder-key": practice().describe.secret_paths[f"{IAM_RESPONDER_USER}.aws_key"].read_text()}


def roll_back_prompt(folder: Path) -> FarSide:
    assert folder
    wire, ssm, name = Wire(practice().describe.addresses.aws), aws("ssm"), f"/prompts/{secrets.token_hex(4)}"
    for text in ("safe", "careless", "other"):
        ssm.put_parameter(Name=name, Value=text, Type="String", Overwrite=text != "safe")

    def move(version: int) -> None:
        ssm.label_parameter_version(Name=name, ParameterVersion=version, Labels=["production"])

    move(2)
    return FarSide(
        kind="aws_ssm",
        verb=Verb.ROLL_BACK_PROMPT,
        settings=_aws_settings(wire),
        secrets=_aws_secrets(),
        target=f"{name}:production",
        missing=f"{name}:prodution",
        desired={"version": "1"},
        taken_away=lambda: ssm.get_parameter(Name=f"{name}:production")["Parameter"]["Value"] == "safe",
        effects=lambda: wire.arrived(rb"AmazonSSM\.LabelParameterVersion"),
        meddle=lambda: move(3),
        give_back=lambda: move(2),
        wire=wire,
        effect=rb"AmazonSSM\.LabelParameterVersion",
        down=wire.close,
    )


def deactivate_key(folder: Path) -> FarSide:
    assert folder
    wire, iam, user = Wire(practice().describe.addresses.aws), aws("iam"), f"agent-{secrets.token_hex(4)}"
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]["AccessKeyId"]
    own = json.loads(_aws_secrets()["file:responder-key"])["access_key_id"]

    def give_back() -> None:
        iam.update_access_key(UserName=user, AccessKeyId=key, Status="Active")

    return FarSide(
        kind="aws_iam",
        verb=Verb.DEACTIVATE_KEY,
        settings=_aws_settings(wire),
        secrets=_aws_secrets(),
        target=f"{user}/{key}",
        missing=f"{user}/AKIANOSUCHKEY",
        own=f"{IAM_RESPONDER_USER}/{own}",
        taken_away=lambda: iam.list_access_keys(UserName=user)["AccessKeyMetadata"][0]["Status"] == "Inactive",
        effects=lambda: wire.arrived(rb"Action=UpdateAccessKey"),
        give_back=give_back,
        wire=wire,
        effect=rb"Action=UpdateAccessKey",
        down=wire.close,
    )


def deny_sessions(folder: Path) -> FarSide:
    assert folder
    wire, iam, role = Wire(practice().describe.addresses.aws), aws("iam"), f"agent-{secrets.token_hex(4)}"
    trust = {"Version": "2012-10-17", "Statement": []}
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))

    def put(document: dict[str, Any]) -> None:
        name = "AWSRevokeOlderSessions"
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))

    def denied() -> bool:
        if not iam.list_role_policies(RoleName=role)["PolicyNames"]:
            return False
        document = iam.get_role_policy(RoleName=role, PolicyName="AWSRevokeOlderSessions")["PolicyDocument"]
        return "aws:TokenIssueTime" in json.dumps(document)

    def give_back() -> None:
        iam.delete_role_policy(RoleName=role, PolicyName="AWSRevokeOlderSessions")

    return FarSide(
        kind="aws_iam",
        verb=Verb.DENY_SESSIONS,
        settings=_aws_settings(wire),
        secrets=_aws_secrets(),
        target=role,
        missing="agnet-role",
        taken_away=denied,
        effects=lambda: wire.arrived(rb"Action=(Put|Delete)RolePolicy"),
        meddle=lambda: put(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
        ),
        give_back=give_back,
        wire=wire,
        effect=rb"Action=(Put|Delete)RolePolicy",
        down=wire.close,
    )

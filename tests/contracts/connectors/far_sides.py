"""One far side per kind and verb, the real thing wherever there is one: files, the practice token server, moto's AWS."""

import atexit
import base64
import functools
import json
import secrets
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from examples.support_agent import world
from examples.support_agent.authorization_store import Store
from examples.support_agent.layout import IAM_RESPONDER_USER, RESPONDER_CLIENT, Layout, read_json
from examples.support_agent.world import World
from runbooks.domain.containment import Reversibility, Verb
from tests.contracts.connectors.wire import Wire

LIMITS = {"read_seconds": 1, "readback_seconds": 1, "deadline_seconds": 10}
REGION = "eu-central-1"


@dataclass
class FarSide:
    """What the contract needs to know of the system at the other end."""

    kind: str
    verb: Verb
    settings: dict[str, Any]
    target: str
    missing: str
    taken_away: Callable[[], bool]
    """Asked of the far side by its own means, never through the connector."""
    effects: Callable[[], int]
    """How many effects it saw, by its own book or on its wire; a state that is only read does not count."""
    desired: dict[str, str] = field(default_factory=dict)
    reversibility: Reversibility | None = None
    secrets: dict[str, str] = field(default_factory=dict)
    own: str | None = None
    """A target that is quell's own access, where the kind has such."""
    meddle: Callable[[], None] | None = None
    """Somebody else changes the target into a third state, where there is a third."""
    give_back: Callable[[], None] | None = None
    """Somebody else restores what was before."""
    wire: Wire | None = None
    effect: bytes = b""
    """What an effect looks like on the wire."""
    repeatable: bool = True
    conclusive: bool = True
    """Whether the wanted state, when seen, can have no other cause."""
    down: Callable[[], None] = lambda: None

    def resolve(self, reference: str) -> str:
        return self.secrets[reference]


@functools.cache
def practice() -> World:
    """The practice world, started once per process when the first test needs it."""
    directory = Path(tempfile.mkdtemp(prefix="quell-practice-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    far = world.start(directory, seed=7, prompt_cache_seconds=0.2)
    atexit.register(far.stop)
    return far


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


def _responder_secret() -> str:
    return practice().describe.secret_paths[f"{RESPONDER_CLIENT}.client_secret"].read_text()


def _store() -> Store:
    """The token server's own store: two processes may have it open."""
    return Store(Layout(practice().describe.directory).authorization_file)


def _client(store: Store, client_id: str) -> Any:
    client = store.client(client_id)
    assert client
    return client


def flagd_file(folder: Path) -> FarSide:
    path = folder / "flags.json"
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False, "beta": True}, "defaultVariant": "on"}
    others = {"metadata": {"team": "shop"}, "flags": {"tool.refund.enabled": flag, "theme": {**flag, "targeting": {}}}}
    path.write_text(json.dumps(others))
    seen = [path.stat().st_ino]

    def read() -> dict[str, Any]:
        return dict(json.loads(path.read_text())["flags"]["tool.refund.enabled"])

    def write(variant: str) -> None:
        document = json.loads(path.read_text())
        document["flags"]["tool.refund.enabled"]["defaultVariant"] = variant
        path.write_text(json.dumps(document))

    def effects() -> int:
        """Each effect is a new file under the old name."""
        if path.exists() and path.stat().st_ino != seen[-1]:
            (folder / f"keep-{len(seen)}").hardlink_to(path)  # so that the number is not given to another
            seen.append(path.stat().st_ino)
        return len(seen) - 1

    def down() -> None:
        path.unlink()
        path.mkdir()

    (folder / "keep-0").hardlink_to(path)
    return FarSide(
        kind="flagd_file",
        verb=Verb.DISABLE_TOOL,
        settings={"path": str(path), **LIMITS},
        target="tool.refund.enabled",
        missing="tool.refnud.enabled",
        desired={"variant": "off"},
        taken_away=lambda: read()["variants"][read()["defaultVariant"]] is False,
        effects=effects,
        meddle=lambda: write("beta"),
        give_back=lambda: write("on"),
        down=down,
    )


def memory(folder: Path) -> FarSide:
    path = folder / "memory.json"
    targets = {"tool": {"status": "on"}, "quell": {"status": "on"}}

    def world_now() -> dict[str, Any]:
        return (
            dict(json.loads(path.read_text()))
            if path.exists() and path.stat().st_size
            else {"targets": targets, "effects": []}
        )

    def write(status: str) -> None:
        path.write_text(json.dumps({**world_now(), "targets": {**targets, "tool": {"status": status}}}))

    def down() -> None:
        path.unlink(missing_ok=True)
        path.mkdir()

    return FarSide(
        kind="memory",
        verb=Verb.DISABLE_TOOL,
        settings={"path": str(path), "targets": targets, "own": ["quell"], **LIMITS},
        target="tool",
        missing="tol",
        own="quell",
        taken_away=lambda: bool(world_now()["targets"]["tool"] == {"status": "off"}),
        effects=lambda: len(world_now()["effects"]),
        meddle=lambda: write("half"),
        give_back=lambda: write("on"),
        down=down,
    )


def _oauth(verb: Verb, target: str, tokens: dict[str, str], wire: Wire) -> dict[str, Any]:
    assert verb
    assert target
    return {
        "issuer": wire.url,
        "client_id": RESPONDER_CLIENT,
        "client_secret": "file:responder",
        "introspection_path": "/introspect",
        "revocation_path": "/revoke",
        "tokens": {name: f"file:{name}" for name in tokens},
        **LIMITS,
    }


def block_client(folder: Path) -> FarSide:
    assert folder
    wire, store, client_id = Wire(practice().describe.addresses.authorization), _store(), f"shop-{secrets.token_hex(4)}"
    store.register(client_id, "shop secret", "tools")

    def give_back() -> None:
        store.set_blocked(client_id, blocked=False, expected_version=None)

    return FarSide(
        kind="oauth",
        verb=Verb.BLOCK_CLIENT,
        settings=_oauth(Verb.BLOCK_CLIENT, client_id, {}, wire),
        secrets={"file:responder": _responder_secret()},
        target=client_id,
        missing="shpo",
        own=RESPONDER_CLIENT,
        taken_away=lambda: bool(_client(store, client_id).blocked),
        effects=lambda: int(_client(store, client_id).version) - 1,
        give_back=give_back,
        wire=wire,
        effect=rb"^PUT /admin/clients/",
        down=wire.close,
    )


def revoke_token(folder: Path) -> FarSide:
    assert folder
    wire, store = Wire(practice().describe.addresses.authorization), _store()
    client_id, jti, token = f"shop-{secrets.token_hex(4)}", secrets.token_hex(8), secrets.token_urlsafe(32)
    own_jti, own_token = secrets.token_hex(8), secrets.token_urlsafe(32)
    store.register(client_id, "shop secret", "tools")
    store.save_token(token, jti, client_id, "tools", 3600)
    store.save_token(own_token, own_jti, RESPONDER_CLIENT, "introspect", 3600)

    def revoked() -> bool:
        found = store.token(token)
        assert found
        return bool(found.revoked)

    return FarSide(
        kind="oauth",
        verb=Verb.REVOKE_TOKEN,
        settings=_oauth(Verb.REVOKE_TOKEN, "agent", {"agent": token, "own": own_token}, wire),
        secrets={"file:responder": _responder_secret(), "file:agent": token, "file:own": own_token},
        target="agent",
        missing="agnet",
        own="own",
        taken_away=revoked,
        effects=lambda: int(revoked()),  # the same revocation again changes nothing (RFC 7009)
        conclusive=False,
        wire=wire,
        effect=rb"^POST /revoke ",
        down=wire.close,
    )


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


def http_action(folder: Path) -> FarSide:
    """The same client record, reached by nothing but configuration."""
    side = block_client(folder)
    assert side.wire
    basic = base64.b64encode(f"{RESPONDER_CLIENT}:{_responder_secret()}".encode()).decode()
    record = {"method": "GET", "path": "/admin/clients/{target}"}
    change = {"method": "PUT", "path": "/admin/clients/{target}"}
    side.kind, side.verb, side.reversibility = "http_action", Verb.CALL_HTTP, Reversibility.R1
    side.secrets = {"file:basic": basic}
    side.desired = {"blocked": "true"}
    side.repeatable = False
    side.settings = {
        "base_url": side.wire.url,
        "headers": {"Authorization": "Basic {secret:basic}"},
        "secrets": {"basic": "file:basic"},
        "reversibility": "R1",
        "capture": {"request": record, "extract": {"blocked": "blocked"}},
        "apply": {
            "request": {**change, "json": {"blocked": "{desired:blocked|json}"}},
            "ok": {"status": [200], "json_field": "blocked", "any_of": [True]},
        },
        "verify": {"request": record, "extract": {"blocked": "blocked"}, "expect": {"blocked": "{desired:blocked}"}},
        "undo": {"request": {**change, "json": {"blocked": "{captured:blocked|json}"}}},
        "protected_targets": [RESPONDER_CLIENT],
        **LIMITS,
    }
    return side


FAR_SIDES: dict[tuple[str, Verb], Callable[[Path], FarSide]] = {
    ("flagd_file", Verb.DISABLE_TOOL): flagd_file,
    ("oauth", Verb.BLOCK_CLIENT): block_client,
    ("oauth", Verb.REVOKE_TOKEN): revoke_token,
    ("aws_ssm", Verb.ROLL_BACK_PROMPT): roll_back_prompt,
    ("aws_iam", Verb.DEACTIVATE_KEY): deactivate_key,
    ("aws_iam", Verb.DENY_SESSIONS): deny_sessions,
    ("http_action", Verb.CALL_HTTP): http_action,
    ("memory", Verb.DISABLE_TOOL): memory,
}
"""`memory` has every verb; one stands for all, since it treats them alike."""

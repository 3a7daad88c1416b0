"""Where things lie in a world directory, and what a running world says of itself (``world.json``)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

DATA: Final = Path(__file__).parent / "data"
TOOLS: Final = ("lookup_order", "issue_refund", "send_email")
ROLES: Final = ("authorization", "tools", "aws", "agent")

AGENT_CLIENT: Final = "support-agent"
TOOL_SERVER_CLIENT: Final = "tool-server"
RESPONDER_CLIENT: Final = "quell-responder"

REGION: Final = "eu-central-1"
PROMPT_PARAMETER: Final = "/support-agent/system-prompt"
PROMPT_LABEL: Final = "production"
IAM_AGENT_USER: Final = "support-agent"
IAM_AGENT_ROLE: Final = "support-agent-role"
IAM_RESPONDER_USER: Final = "quell-responder"

TRIAL_HEADER: Final = "X-Quell-Trial"
CANARY_ORDER_PREFIX: Final = "CANARY-"
CANARY_ORDER: Final = "CANARY-0001"
CANARY_EMAIL: Final = "canary@canary.example.com"


def flag_key(tool: str) -> str:
    """The feature flag that must be on for ``tool`` to work."""
    return f"tool.{tool}.enabled"


class Layout:
    """Paths inside one world directory. The directory is the world's identity; ports are not."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.world_file = self.directory / "world.json"
        self.lock_file = self.directory / "world.lock"
        self.flags_file = self.directory / "flags.json"
        self.documents = self.directory / "documents"
        self.traces_file = self.directory / "traces" / "traces.jsonl"
        self.book_file = self.directory / "state" / "book.sqlite"
        self.authorization_file = self.directory / "state" / "authorization.sqlite"
        self.prompt_state_file = self.directory / "state" / "prompt.json"
        self.token_state_file = self.directory / "state" / "agent_token.json"
        self.secrets = self.directory / "secrets"
        self.logs = self.directory / "logs"

    def client_secret(self, client_id: str) -> Path:
        """File with the OAuth client secret of ``client_id``."""
        return self.secrets / f"{client_id}.client_secret"

    @property
    def agent_token(self) -> Path:
        """File with the agent's long-lived access token; read at every use."""
        return self.secrets / f"{AGENT_CLIENT}.access_token"

    def aws_key(self, user: str) -> Path:
        """JSON file ``{"access_key_id", "secret_access_key"}`` of an IAM user."""
        return self.secrets / f"{user}.aws_key.json"

    def make_directories(self) -> None:
        """Create the tree; secrets are readable by their owner only."""
        for folder in (self.directory, self.documents, self.traces_file.parent, self.book_file.parent, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        self.secrets.mkdir(mode=0o700, exist_ok=True)


class Frozen(BaseModel):
    """Base of the world's value types: immutable, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Addresses(Frozen):
    """Base URLs without a trailing slash."""

    authorization: str
    tools: str
    aws: str
    agent: str


class ServeSettings(Frozen):
    """What a child process needs to know. Holds paths and addresses, never a secret."""

    directory: Path
    addresses: Addresses
    seed: int
    prompt_cache_seconds: float


class ProcessInfo(Frozen):
    """A process of the world; ``started`` (seconds since the epoch) tells it from a later user of the same pid."""

    pid: int
    started: float


class WorldDescription(Frozen):
    """The contents of ``world.json``. Secrets appear as paths only."""

    format: str = "support-agent-world/1"
    practice: bool = True
    directory: Path
    seed: int
    started_at: str
    supervisor: ProcessInfo
    processes: dict[str, ProcessInfo]
    addresses: Addresses
    flags_path: Path
    flag_keys: dict[str, str]
    documents_path: Path
    traces_path: Path
    book_path: Path
    region: str = REGION
    prompt_parameter: str = PROMPT_PARAMETER
    prompt_label: str = PROMPT_LABEL
    prompt_cache_seconds: float
    iam_user: str = IAM_AGENT_USER
    iam_role: str = IAM_AGENT_ROLE
    iam_access_key_id: str
    oauth_clients: dict[str, str]
    agent_token_jti: str
    secret_paths: dict[str, Path]


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace ``path`` by ``text``: readers see the old or the new file, and the new one survives power loss."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_json(path: Path) -> Any:
    """Parse a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))

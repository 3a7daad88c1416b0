"""The far sides of whole responses: practice worlds behind wires that count.

Counting happens outside quell: on the wire to each world, and in the folder of its flag file, as the kernel tells it.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import sqlite3
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx

from examples.support_agent.layout import (
    AGENT_CLIENT,
    IAM_RESPONDER_USER,
    RESPONDER_CLIENT,
    Layout,
    read_json,
    write_atomically,
)
from examples.support_agent.world import World
from flows.doors import practice
from runbooks.domain.configuration import Configuration, Connection, ProbeSpec, Right, System
from tasks.settings import load_configuration, load_settings

IN_MOVED_TO, IN_CREATE = 0x80, 0x100
BAD_FIX = {"half": 3, "none": 2}
"""System to the prompt version that it goes back to: one obeys one time in five, the other is the one in use."""
SKIPPED = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


class Wire:
    """A reverse proxy that counts what changes something at the far side, and can be cut."""

    def __init__(self, target: str) -> None:
        self.counts: Counter[str] = Counter()
        self.cut = False
        self._target = urlsplit(target)
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                wire.pass_on(self)

            do_GET = do_POST = do_PUT = do_DELETE = _pass  # noqa: N815 - the base class's names

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Whoever called was killed: that is what these tests do."""

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        """Where to call instead of the target."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def pass_on(self, asked: BaseHTTPRequestHandler) -> None:
        """One request there and back; counted once the far side has it."""
        body = asked.rfile.read(int(asked.headers.get("Content-Length") or 0))
        if self.cut:
            asked.close_connection = True
            return
        headers = {name: value for name, value in asked.headers.items() if name.lower() not in SKIPPED}
        far = http.client.HTTPConnection(self._target.hostname or "", self._target.port, timeout=60)
        with contextlib.closing(far):
            far.request(asked.command, asked.path, body=body, headers=headers)
            self._count(asked)
            answer = far.getresponse()
            data = answer.read()
        asked.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in SKIPPED:
                asked.send_header(name, value)
        asked.send_header("Content-Length", str(len(data)))
        asked.end_headers()
        asked.wfile.write(data)

    def _count(self, asked: BaseHTTPRequestHandler) -> None:
        action = str(asked.headers.get("X-Amz-Target", "")).rpartition(".")[2]
        if action == "LabelParameterVersion":
            self.counts["label moved"] += 1
        elif asked.command == "PUT" and asked.path.startswith("/admin/clients/"):
            self.counts["client written"] += 1
        elif asked.command == "POST" and asked.path.startswith("/revoke"):
            self.counts["token revoked"] += 1


class FileWatch:
    """How often a file was put in place, as the kernel says (inotify): the far side's own count of flag changes."""

    def __init__(self, file: Path) -> None:
        self._count = 0
        self._name = file.name.encode()
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if libc.inotify_add_watch(self._fd, os.fsencode(file.parent), IN_MOVED_TO | IN_CREATE) < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {file.parent}")

    @property
    def count(self) -> int:
        """Until now; the kernel keeps what was not read yet. (It merges like neighbours: hence the creations between.)"""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._fd, 65536):
                while data:
                    _, mask, _, length = struct.unpack_from("iIII", data)
                    name, data = data[16 : 16 + length].rstrip(b"\0"), data[16 + length :]
                    self._count += mask == IN_MOVED_TO and name == self._name
        return self._count

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)


class FarSide:
    """One practice world as one system of the inventory, and what really happened to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.aws = Wire(world.describe.addresses.aws)
        self.identity = Wire(world.describe.addresses.authorization)
        self.flags = FileWatch(world.describe.flags_path)

    def system(self, filled: System) -> System:
        """The system of the practice configuration, with quell's calls going over the wires."""
        identity = filled.connections["identity"].settings | {
            "issuer": self.identity.url, "introspection_path": "/introspect", "revocation_path": "/revoke",
        }  # fmt: skip
        prompts = filled.connections["prompts"].settings | {"endpoint_url": self.aws.url}
        return filled.model_copy(
            update={
                "connections": filled.connections
                | {
                    "identity": Connection(kind="oauth", settings=identity),
                    "prompts": Connection(kind="aws_ssm", settings=prompts),
                }
            }
        )

    def reset(self) -> None:
        """As before any incident: tools on, the careless prompt, the client unblocked, a token that works."""
        told = self.world.describe
        flags = read_json(told.flags_path)
        if any(flag["defaultVariant"] != "on" for flag in flags["flags"].values()):
            for flag in flags["flags"].values():
                flag["defaultVariant"] = "on"
            write_atomically(told.flags_path, json.dumps(flags, indent=2))
        key = read_json(told.secret_paths[f"{IAM_RESPONDER_USER}.aws_key"])
        with contextlib.closing(
            boto3.client(
                "ssm", endpoint_url=told.addresses.aws, region_name=told.region,
                aws_access_key_id=key["access_key_id"], aws_secret_access_key=key["secret_access_key"],
            )
        ) as ssm:  # fmt: skip
            ssm.label_parameter_version(Name=told.prompt_parameter, ParameterVersion=2, Labels=[told.prompt_label])
        secret = told.secret_paths[f"{RESPONDER_CLIENT}.client_secret"].read_text()
        with httpx.Client(
            base_url=told.addresses.authorization, auth=(RESPONDER_CLIENT, secret), trust_env=False
        ) as responder:
            path = f"/admin/clients/{AGENT_CLIENT}"
            found = responder.get(path)
            if found.json()["blocked"]:
                responder.put(
                    path, json={"blocked": False}, headers={"If-Match": found.headers["ETag"]}
                ).raise_for_status()
        self.identity.cut = self.aws.cut = False
        if self.world.canary("lookup_order")["status"] == 401:
            self.world.reissue_agent_token()
        deadline = time.monotonic() + 20
        while self.prompt_version() != 2 or self.world.canary("issue_refund")["status"] != 200:
            assert time.monotonic() < deadline, "the practice world did not come back to how it was"
            time.sleep(0.05)

    def prompt_version(self) -> int:
        """The version that the agent answers with now."""
        found = httpx.get(f"{self.world.describe.addresses.agent}/healthz", timeout=10, trust_env=False)
        return int(found.json()["prompt_version"])

    def client_version(self) -> int:
        """How often the agent's client was written, by the authorization server's own database."""
        with contextlib.closing(sqlite3.connect(Layout(self.world.describe.directory).authorization_file)) as database:
            row = database.execute("SELECT version FROM client WHERE client_id = ?", (AGENT_CLIENT,)).fetchone()
        return int(row[0])

    def close(self) -> None:
        """Stop wires and watch; the world is stopped by whoever started it."""
        self.aws.close()
        self.identity.close()
        self.flags.close()

    def counts(self) -> dict[str, int]:
        """What reached the far side until now."""
        return dict(self.aws.counts) | dict(self.identity.counts) | {
            "flag file written": self.flags.count, "client version": self.client_version(),
        }  # fmt: skip

    def since(self, before: dict[str, int]) -> dict[str, int]:
        """What reached it since then."""
        return {name: value - before.get(name, 0) for name, value in self.counts().items()}

    def flag_is_on(self, tool: str = "issue_refund") -> bool:
        """Whether the tool works, by the flag file."""
        flag = json.loads(self.world.describe.flags_path.read_text())["flags"][self.world.describe.flag_keys[tool]]
        return bool(flag["variants"][flag["defaultVariant"]])


def badly_fixed(system: System, version: int) -> System:
    """The same world with a bad idea of the fix: another prompt version than the safe one."""
    controls = tuple(
        c.model_copy(update={"desired": {"version": str(version)}}) if c.name == "system-prompt" else c
        for c in system.controls
    )
    seen = system.probes["prompt-version"].settings
    there: dict[str, Any] = {
        "refused_when": {"status": [200], "json_field": "prompt_version", "any_of": [version]},
        "through_when": {"status": [200], "json_field": "prompt_version", "none_of": [version]},
    }
    probe = ProbeSpec(connector="agent", settings={**seen, **there})
    return system.model_copy(update={"controls": controls, "probes": {**system.probes, "prompt-version": probe}})


def whole(home: Path, sides: dict[str, FarSide], papers: dict[str, System]) -> Configuration:
    """The practice configuration with these systems. Requests for those named `quick…` expire after a minute."""
    base = load_configuration(load_settings(home))
    systems = {}
    for name, side in sides.items():
        practice.write_configuration(home, side.world)
        system = side.system(load_configuration(load_settings(home)).systems["support-agent"])
        systems[name] = badly_fixed(system, BAD_FIX[name]) if name in BAD_FIX else system
    rule = base.policy.preauthorised[0].model_copy(
        update={"systems": tuple(sides), "sources": ("monitor", practice.MONITOR)}
    )
    quick = tuple(name for name in papers if name.startswith("quick"))
    rights = (Right(systems=quick, roles=("security",), expires_minutes=1),) if quick else ()
    alone = base.policy.break_glass[0].model_copy(update={"systems": tuple(sides)})
    rules = {"rights": (*rights, *base.policy.rights), "preauthorised": (rule,), "break_glass": (alone,)}
    policy = base.policy.model_copy(update=rules)
    return base.model_copy(update={"systems": {**systems, **papers}, "policy": policy})

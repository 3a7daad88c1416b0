"""Systems on paper: their far side is one file, which keeps a log of every effect. Quick, and as many as one likes."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from runbooks.domain.configuration import Connection, Control, EvidenceSource, ProbeSpec, System
from runbooks.domain.containment import Verb
from runbooks.domain.evidence import EvidenceClass


def nobodys_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def paper(folder: Path, name: str, *, tools: int = 1, dead: tuple[str, ...] = (), **more: Any) -> System:
    """A system whose far side is one file that keeps a log of every effect; `dead` connections answer nobody."""
    targets = {f"tool-{number}": {"status": "on"} for number in range(tools)}
    settings = {"path": str(folder / f"{name}.json"), "targets": targets}
    nobody = {
        "base_url": f"http://127.0.0.1:{nobodys_port()}",
        "sources": {"calls": {"path": "/book", "rows": "rows", "time": "at"}},
    }
    connections = {
        f"tool-{number}": Connection(kind="memory", settings=settings)
        for number in range(tools)
        if f"tool-{number}" not in dead
    } | {
        "log": Connection(kind="memory", settings=settings),
        "nobody": Connection(kind="http_source", settings=nobody),
    }  # fmt: skip
    for gone in dead:
        unreachable = settings | {"path": str(folder / "no-such-folder" / f"{name}.json")}
        connections[gone] = Connection(kind="memory", settings=unreachable)
    return System(
        title=f"{name} (on paper)", owner="dora", lead="ana", practice=True, connections=connections,
        controls=tuple(
            Control(
                name=target, verb=Verb.DISABLE_TOOL, connector=target, target=target, title=f"Switch off {target}",
                blast_radius="nobody", undo="switch it on", tags=("harmful",), probes=(target,), deadline_seconds=5,
            )
            for target in targets
        ),
        evidence=(EvidenceSource(evidence_class=EvidenceClass.G, connector="log", what="effects"),),
        probes={target: ProbeSpec(connector="log", settings={"target": target}) for target in targets},
    ).model_copy(update=more)  # fmt: skip


def effects_on_paper(folder: Path, name: str) -> list[str]:
    """Targets acted upon, in order, by the file's own log."""
    file = folder / f"{name}.json"
    text = file.read_text() if file.exists() else ""
    return [f"{row['target']} {row['status']}" for row in json.loads(text)["effects"]] if text else []

"""Far sides that are files."""

import json
from pathlib import Path
from typing import Any

from runbooks.domain.containment import Verb
from tests.contracts.connectors.far_side import LIMITS, FarSide


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

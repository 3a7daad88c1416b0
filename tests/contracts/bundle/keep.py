"""Make a bundle to be kept for ever: `python -m tests.contracts.bundle.keep NUMBER`, when the format gains something.

Everything that a bundle can hold is in it: two anchors with time-stamps, a changed key, a mirror of Prefect's history, an
activation signed by an owner (since 2).
"""

import json
import sys
import tempfile
import zipfile
from pathlib import Path

from runbooks.domain.evidence import EvidenceClass
from runbooks.domain.ledger import EntryType
from tasks.anchors import AnchorDuty
from tasks.keys import log_key, rotate
from tasks.ledger import clock, flow_actor
from tasks.stores.base import SourceFacts
from tests.contracts.bundle.ground import activate_signed, an_export, an_incident, settings
from tests.contracts.bundle.tsa import an_authority, make_authority
from tests.steps.desk import make_people

KEPT = Path(__file__).parents[2] / "data" / "bundles"
_RUN = "d6151ec2-16c9-4098-8a18-bdd07900562a"


def keep(number: int) -> None:
    """Write bundle-N.zip (members stored), and what an auditor of it was given by other channels, as bundle-N.json."""
    with tempfile.TemporaryDirectory(prefix="practice-") as name:
        folder = Path(name)
        people = make_people(folder)
        installation, incident = an_incident(folder / "home", people)
        activate_signed(installation, people["ana"], "waiver_roles", 'owners = ["ana"]\nwaiver_roles')
        first = log_key(installation).verifier.line()
        page = {"flow_run": {"id": _RUN}, "states": [], "task_runs": []}
        sealed = installation.vault.seal(
            incident=incident, evidence_class=EvidenceClass.H, source="prefect", media_type="application/json",
            items=[json.dumps(page).encode()], facts=SourceFacts(), now=clock,
        )  # fmt: skip
        pen = installation.pen(flow_actor("prompt-injection"), _RUN)
        pen.write(EntryType.RUN_STARTED, "run", incident=incident, body={"flow_run": _RUN})
        pen.write(
            EntryType.HISTORY_MIRRORED, "mirrored", incident=incident,
            subject={"collection": installation.keep(sealed.collection)}, body={"runs": 1, "because": "mirrored"},
        )  # fmt: skip
        authority = make_authority(folder / "tsa")
        with an_authority(folder / "tsa") as url:
            (folder / "elsewhere").mkdir()
            settings(installation, anchor_directory=str(folder / "elsewhere"), anchor_tsa_url=url)
            AnchorDuty(installation).keep()
            rotate(installation)
            files, key = an_export(installation, incident, folder / "bundle")
        KEPT.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(KEPT / f"bundle-{number}.zip", "w", zipfile.ZIP_STORED) as made:
            for path, data in sorted(files.items()):
                made.writestr(zipfile.ZipInfo(path), data)
        given = {"key": key, "first_key": first, "authority": authority.read_text()}
        (KEPT / f"bundle-{number}.json").write_text(json.dumps(given, indent=1) + "\n")


if __name__ == "__main__":
    keep(int(sys.argv[1]))

"""Who made a configuration the active one: what an owner signed is in the bundle, and anybody can check it."""

import json
import subprocess
from pathlib import Path

import pytest

from runbooks.domain import bundle
from runbooks.domain.incident import Archetype, Report
from runbooks.domain.ledger import EntryType
from runbooks.domain.signed import POLICY_NAMESPACE
from tasks.incident import open_incident
from tasks.installation import Installation
from tasks.keys import log_key
from tasks.ledger import INSTALLATION, clock
from tasks.replay import replay_live
from tasks.verifier import verify
from tests.contracts.bundle.ground import (
    Files,
    activate_signed,
    an_export,
    an_incident,
    judged,
    store,
    with_body,
    with_digests,
)

Case = tuple[Installation, str, Files, str]


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, people_keys: dict[str, Path]) -> Case:
    """An installation whose second and third configuration were signed by an owner; the third during the incident."""
    home = tmp_path_factory.mktemp("activations")
    installation, incident = an_incident(home / "home", people_keys, close=False)
    activate_signed(installation, people_keys["ana"], "waiver_roles", 'owners = ["ana"]\nwaiver_roles')
    activate_signed(installation, people_keys["ana"], 'owners = ["ana"]', 'owners = ["ana", "cleo"]')
    files, key = an_export(installation, incident, home / "b")
    return installation, incident, files, key


def _of_activations(files: Files) -> list[str]:
    return sorted({n.rsplit("/", 1)[0] for n, data in files.items() if n.endswith("/namespace") and b"policy" in data})


def test_what_owners_signed_is_in_the_bundle_and_holds(signed: Case, tmp_path: Path) -> None:
    _, _, files, key = signed
    folders = _of_activations(files)
    assert len(folders) == 2
    audit = judged(files, key)
    assert audit.sound, audit.faults
    place = store(files, tmp_path / "b")
    assert verify(place, key) == []
    for folder in folders:
        done = subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", "ana", "-n", POLICY_NAMESPACE,
             "-s", "statement.json.sig"],
            cwd=place / folder, input=files[f"{folder}/statement.json"], capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_a_live_replay_checks_them_too(signed: Case) -> None:
    installation, incident, _, _ = signed
    found = [one.what for one in replay_live(installation, incident, lambda _: None).audit.faults]
    assert not [what for what in found if "configuration activated" in what], found


def test_an_activation_signed_for_another_step_is_found(signed: Case, tmp_path: Path) -> None:
    """Written with the real log key by somebody who has the database: only what the owner signed stands against it."""
    installation, incident, _, _ = signed
    entries = installation.store.entries(types=(EntryType.CONFIGURATION_ACTIVATED,))
    assert len(entries) == 3
    log_key(installation)
    forged = with_body(installation, tmp_path / "forged", entries[2].index, dict(entries[1].body))
    files, key = an_export(forged, incident, tmp_path / "b")
    found = judged(files, key).faults
    assert any("another step" in one.what for one in found), found
    assert any("another step" in one for one in verify(tmp_path / "b", key))


def test_an_activation_left_out_is_found(signed: Case) -> None:
    _, _, files, key = signed
    number = next(
        n for n, line in enumerate(files[bundle.HOUSE_ENTRIES].splitlines())
        if (entry := json.loads(line))["type"] == "configuration_activated" and entry["body"].get("signed")
    )  # fmt: skip
    changed = dict(files)
    for name in (bundle.HOUSE_ENTRIES, bundle.HOUSE_PROOFS):
        some = files[name].splitlines(keepends=True)
        changed[name] = b"".join(some[:number] + some[number + 1 :])
    assert any("left out" in one.means for one in judged(with_digests(changed), key).faults)


def test_a_bundle_rests_on_the_configuration_before_it_and_on_who_made_it_so(signed: Case, tmp_path: Path) -> None:
    """An incident that begins later: the active configuration, the one before whose owner signed it, nothing older."""
    installation, *_ = signed
    report = Report(system="helper", what_happened="later", reporter="ana", lead="ana", noticed_at=clock())
    later = open_incident(
        installation, report, Archetype.PROMPT_INJECTION, drill=True, opener=INSTALLATION, material=b"later"
    )
    files, key = an_export(installation, later.id, tmp_path / "b")
    told = [json.loads(line) for line in files[bundle.HOUSE_ENTRIES].splitlines()]
    active = [one["body"] for one in told if one["type"] == "configuration_activated"]
    assert [one["signed"]["person"] for one in active] == ["ana", "ana"], (
        "the first one, of the installation, stays out"
    )
    assert len(_of_activations(files)) == 1, "the older of the two is the ground; what it rests on is not here"
    audit = judged(files, key)
    assert audit.sound, audit.faults

"""Heads of the log elsewhere: written at the right moments, never in the way, and telling when history was rewritten."""

import subprocess
from pathlib import Path

import pytest

from runbooks.domain.errors import LedgerError
from runbooks.domain.instants import later
from runbooks.domain.ledger import EntryType
from tasks.anchors import AnchorDuty, unanchored
from tasks.installation import Installation
from tasks.keys import log_key, log_keys, rotate
from tasks.ledger import KEEPER, clock
from tasks.verifier import verify
from tests.contracts.bundle.ground import (
    an_export,
    an_incident,
    judged,
    load,
    rewritten,
    settings,
    store,
    with_body,
    with_digests,
)
from tests.contracts.bundle.tsa import an_authority, make_authority


def _kinds(installation: Installation) -> list[str]:
    found = installation.store.entries(types=(EntryType.CHECKPOINT_ANCHORED, EntryType.ANCHOR_FAILED))
    return [f"{entry.type}:{entry.body['kind']}" for entry in found]


def test_heads_go_to_both_places_and_stock_openssl_agrees(
    place: tuple[Installation, str], tmp_path: Path, authority: tuple[str, Path]
) -> None:
    installation, incident = place
    url, ca = authority
    copies = tmp_path / "elsewhere"
    copies.mkdir()
    settings(installation, anchor_directory=str(copies), anchor_tsa_url=url)
    assert unanchored(installation) == (0, installation.store.size())
    assert AnchorDuty(installation).keep()
    first, size = unanchored(installation)
    assert first == size
    assert _kinds(installation) == ["checkpoint_anchored:store", "checkpoint_anchored:tsa"]
    files, key = an_export(installation, incident, tmp_path / "b")
    audit = judged(files, key, authority=ca, anchors=copies)
    assert audit.sound, audit.faults
    assert not audit.findings, audit.findings
    assert (audit.checked["anchors"], audit.checked["time_stamps"], audit.checked["copies_that_agree"]) == (2, 2, 2)
    assert verify(tmp_path / "b", key, str(ca)) == []
    for token in (tmp_path / "b" / "data" / "anchors").glob("*.tsr"):
        done = subprocess.run(
            ["openssl", "ts", "-verify", "-data", str(token.with_suffix(".body")), "-in", str(token), "-CAfile", str(ca)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Verification: OK" in done.stdout + done.stderr


def test_anchors_are_part_of_what_is_checked(
    place: tuple[Installation, str], tmp_path: Path, authority: tuple[str, Path]
) -> None:
    installation, incident = place
    url, ca = authority
    settings(installation, anchor_tsa_url=url)
    AnchorDuty(installation).keep()
    files, key = an_export(installation, incident, tmp_path / "b")
    sizes = sorted({int(e.body["size"]) for e in installation.store.entries(types=(EntryType.CHECKPOINT_ANCHORED,))})
    old, new = (f"data/anchors/{size}" for size in (sizes[0], sizes[-1]))
    forged = tmp_path / "forged"
    make_authority(forged / "tsa")
    with an_authority(forged / "tsa") as other:
        settings(installation, anchor_tsa_url=other)
        again, _ = an_export(installation, incident, tmp_path / "again")
    cases = {
        "a token exchanged": {**files, f"{old}.tsr": files[f"{new}.tsr"]},
        "a request exchanged": {**files, f"{new}.tsq": files[f"{old}.tsq"]},
        "a token flipped": {**files, f"{new}.tsr": files[f"{new}.tsr"][:-9] + bytes(9)},
        "a note taken out": {name: data for name, data in files.items() if name != f"{old}.note"},
        "a body edited": {**files, f"{old}.body": files[f"{new}.body"]},
        "joining forged": {**files, "data/anchors/consistency.jsonl": b'{"path":[],"size":%d}\n' % sizes[0]},
        "no joining": {**files, "data/anchors/consistency.jsonl": b""},
    }
    for name, changed in cases.items():
        assert not judged(with_digests(changed), key, authority=ca).sound, name
    assert any("signature does not hold" in one.what for one in judged(again, key, authority=ca).faults)


def test_it_is_anchored_at_gates_and_closure_at_once_and_otherwise_at_the_interval(
    tmp_path: Path, people_keys: dict[str, Path]
) -> None:
    installation, incident = an_incident(tmp_path / "home", people_keys, close=False)
    (tmp_path / "elsewhere").mkdir()
    settings(installation, anchor_directory=str(tmp_path / "elsewhere"), anchor_interval_seconds=3600)
    duty, writer = AnchorDuty(installation), installation.pen(KEEPER)
    assert duty.keep()
    assert not duty.keep(), "nothing is new"
    writer.write(EntryType.RUN_WOKEN, "quiet", incident=incident)
    assert not duty.keep(), "not yet time"
    for kind in (EntryType.RUN_SUSPENDED, EntryType.INCIDENT_CLOSED):
        writer.write(kind, f"now/{kind}", incident=incident)
        assert duty.keep(), kind
        assert not duty.keep()
    settings(installation, anchor_interval_seconds=0)
    writer.write(EntryType.RUN_ENDED, "the end", incident=incident)
    assert duty.keep()
    assert unanchored(installation)[0] == installation.store.size()


def test_a_clock_that_is_set_back_does_not_put_off_the_next_anchor(
    place: tuple[Installation, str], tmp_path: Path
) -> None:
    installation, incident = place
    (tmp_path / "elsewhere").mkdir()
    settings(installation, anchor_directory=str(tmp_path / "elsewhere"), anchor_interval_seconds=60)
    times = [clock()]
    duty, writer = AnchorDuty(installation, lambda: times[-1]), installation.pen(KEEPER)
    assert duty.keep()
    writer.write(EntryType.RUN_WOKEN, "quiet", incident=incident)
    assert not duty.keep()
    times.append(later(times[0], -3600))
    assert duty.keep()


def test_a_place_that_fails_stops_nothing_and_is_on_record_once(
    place: tuple[Installation, str], tmp_path: Path
) -> None:
    installation, incident = place
    settings(
        installation, anchor_directory=str(tmp_path / "not-mounted"), anchor_tsa_url="http://127.0.0.1:9/tsa",
        anchor_interval_seconds=0,
    )  # fmt: skip
    duty = AnchorDuty(installation)
    for _ in range(3):
        assert duty.keep()
    assert _kinds(installation) == ["anchor_failed:store", "anchor_failed:tsa"]
    assert unanchored(installation)[0] == 0
    files, key = an_export(installation, incident, tmp_path / "b")
    audit = judged(files, key)
    assert audit.sound
    assert any("covered by no anchor" in one.what for one in audit.findings)
    (tmp_path / "not-mounted").mkdir()
    assert duty.keep()
    assert _kinds(installation)[2:] == ["checkpoint_anchored:store"]


def test_history_rewritten_with_the_real_key_is_found_by_the_auditors_copies(
    place: tuple[Installation, str], tmp_path: Path
) -> None:
    installation, incident = place
    copies = tmp_path / "elsewhere"
    copies.mkdir()
    settings(installation, anchor_directory=str(copies))
    AnchorDuty(installation).keep()
    forged = rewritten(installation, tmp_path / "forged")
    files, key = an_export(forged, incident, tmp_path / "b")
    assert key == log_key(installation).verifier.line()
    assert not [one for one in judged(files, key).faults if "decisions" not in one.where], "by itself it looks right"
    audit = judged(files, key, anchors=copies)
    assert any("does not lead to this one" in one.what and "rewritten" in one.means for one in audit.faults)


def test_a_second_head_of_the_same_size_is_refused_by_the_anchor_directory(
    place: tuple[Installation, str], tmp_path: Path
) -> None:
    installation, _ = place
    copies = tmp_path / "elsewhere"
    copies.mkdir()
    settings(installation, anchor_directory=str(copies))
    log_key(installation)
    forged = rewritten(installation, tmp_path / "forged")
    AnchorDuty(installation).keep()
    settings(forged, anchor_directory=str(copies))
    AnchorDuty(forged).keep()
    failed = forged.store.entries(types=(EntryType.ANCHOR_FAILED,))
    assert "two histories" in failed[0].body["because"]


def test_the_key_is_made_once_recorded_and_rotated_by_both(place: tuple[Installation, str], tmp_path: Path) -> None:
    installation, incident = place
    first = log_key(installation).verifier
    assert log_key(installation).verifier == first
    assert rotate(installation) != first
    assert rotate(installation) == log_keys(installation)[-1]
    assert len(list((installation.settings.home / "keys").glob("log-*.pem"))) == 1
    files, newest = an_export(installation, incident, tmp_path / "b")
    assert judged(files, newest).sound
    audit = judged(files, first.line())
    assert audit.sound
    assert any("was rotated" in one.what for one in audit.findings)


def test_a_rotation_that_the_old_key_did_not_sign_is_not_followed(
    place: tuple[Installation, str], tmp_path: Path
) -> None:
    installation, incident = place
    first = log_key(installation).verifier
    rotate(installation)
    entry = installation.store.entries(types=(EntryType.KEY_ADDED,))[-1]
    forged = with_body(installation, tmp_path / "forged", entry.index, {**entry.body, "signed_by_old": "00" * 64})
    files, newest = an_export(forged, incident, tmp_path / "b")
    assert judged(files, newest).sound
    assert not judged(files, first.line()).sound


def test_a_key_file_that_is_open_missing_or_another_is_refused(place: tuple[Installation, str]) -> None:
    installation, _ = place
    log_key(installation)
    file = next((installation.settings.home / "keys").glob("log-*.pem"))
    file.chmod(0o644)
    with pytest.raises(LedgerError, match="closed to others"):
        log_key(installation)
    file.chmod(0o600)
    right = file.read_bytes()
    file.write_bytes(b"-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(LedgerError, match="no usable key"):
        log_key(installation)
    file.write_bytes(right)
    log_key(installation)
    file.unlink()
    with pytest.raises(LedgerError, match="is missing"):
        log_key(installation)


def test_a_bundle_of_another_log_is_not_this_logs(
    place: tuple[Installation, str], tmp_path: Path, people_keys: dict[str, Path]
) -> None:
    other, incident = an_incident(tmp_path / "other", people_keys)
    files, _ = an_export(other, incident, tmp_path / "b")
    audit = judged(files, log_key(place[0]).verifier.line())
    assert [one.where for one in audit.faults] == ["data/checkpoint"]
    assert verify(store(files, tmp_path / "c"), log_key(place[0]).verifier.line()) != []
    assert load(tmp_path / "c") == files
    assert clock()

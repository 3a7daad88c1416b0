"""`quell keys`: people's keys as ssh-keygen reads them; the log's own, to pin and to change."""

from pathlib import Path

from tests.steps.desk import Desk


def test_keys_are_what_ssh_keygen_reads(desk: Desk, tmp_path: Path) -> None:
    told = desk("keys", "show", "--json").json
    assert told["people"]["ana"]["keys"][0].startswith("SHA256:")
    assert desk("keys", "show").out == told["allowed_signers"]
    assert told["allowed_signers"].count("quell-waiver") == 4
    assert tmp_path.is_dir()


def test_the_logs_key_is_handed_out_beforehand_and_changed_by_both(desk: Desk, tmp_path: Path) -> None:
    first = desk("keys", "log").out.strip()
    told = desk("keys", "log", "--json").json
    assert (told["key"], told["earlier"]) == (first, [])
    incident = desk.declare()
    changed = desk("keys", "rotate", "--json").json
    assert changed["before"] == first != changed["key"]
    assert desk("keys", "log", "--json").json["earlier"] == [first]
    assert len(list((desk.home / "keys").glob("log-*.pem"))) == 1
    exported = desk("export", incident, str(tmp_path / "b"), "--json").json
    assert exported["key"] == changed["key"]
    for pinned in (first, changed["key"]):
        assert desk("verify", str(tmp_path / "b"), "--key", pinned).code == 0
    again = desk("keys", "rotate")
    assert again.code == 0
    assert changed["key"] in again.out
    assert desk("keys", "log").out.strip() in again.out


def test_a_logs_key_that_others_could_read_is_changed_as_its_error_says(desk: Desk) -> None:
    desk("keys", "log")
    (file,) = (desk.home / "keys").glob("log-*.pem")
    file.chmod(0o644)
    refused = desk("keys", "rotate")
    assert refused.code == 3
    assert "quell keys rotate" in refused.err
    file.chmod(0o600)
    assert desk("keys", "rotate").code == 0
    assert not file.exists()

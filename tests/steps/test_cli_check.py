"""Wrong configuration is named by file, key, expected and found, and nothing starts half; a changed one needs its owner."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from runbooks.domain.ledger import EntryType
from tasks.settings import load_configuration, load_settings
from tests.steps.desk import Desk

Change = Callable[[Desk], None]


def change(file: str, old: str, new: str) -> Change:
    return lambda desk: desk.change(file, old, new)


def without(file: str) -> Change:
    return lambda desk: (desk.home / "config" / file).unlink()


LINK = """
[systems.helper.connections.identity]
kind = "oauth"
settings = {{issuer = "http://127.0.0.1:9", client_id = "x", client_secret = "{secret}"}}
[systems.helper.probes.refund]"""


def link(secret: str) -> Change:
    return change("systems.toml", "[systems.helper.probes.refund]", LINK.format(secret=secret))


BAD: dict[str, tuple[Change, str, str, str]] = {
    # what is wrong: the change, and the file, the key and the found value that must be named
    "an unknown lead": (change("systems.toml", 'lead = "ana"', 'lead = "zoe"'), "systems.toml", "helper.lead", "zoe"),
    "an unknown owner of the policy": (
        change("policy.toml", "waiver_roles", 'owners = ["zoe"]\nwaiver_roles'), "policy.toml", "owners", "zoe",
    ),
    "an unknown role of a right": (
        change("policy.toml", 'roles = ["product-owner",', 'roles = ["emperor",'), "policy.toml", "[[rights]] no. 1, roles", "emperor",
    ),
    "an unknown role of waivers": (
        change("policy.toml", 'waiver_roles = ["incident-commander"', 'waiver_roles = ["emperor"'), "policy.toml",
        "waiver_roles", "emperor",
    ),
    "an unknown system of a right": (
        change("policy.toml", 'reversibilities = ["R2", "R3"]', 'systems = ["moon"]'), "policy.toml", "[[rights]] no. 2, systems", "moon",
    ),
    "an unknown connector": (
        change("systems.toml", 'connector = "side"\ntarget = "refunds"', 'connector = "moon"\ntarget = "refunds"'),
        "systems.toml", "helper.controls.refund-tool.connector", "moon",
    ),
    "an unknown kind of connector": (
        change("systems.toml", 'kind = "memory"', 'kind = "telepathy"'), "systems.toml",
        "systems.helper.connections.side.kind", "telepathy",
    ),
    "a fraction where digests are taken": (
        change("systems.toml", "side.settings]", "side.settings]\ndeadline_seconds = 0.5"), "systems.toml",
        "helper.connections.side.settings.deadline_seconds", "0.5",
    ),
    "an unknown role that may never decide": (
        change("policy.toml", 'proofs = ["ssh", "code"]', 'proofs = ["ssh", "code"]\nnever = ["moon"]'), "policy.toml",
        "[[rights]] no. 3, never", "moon",
    ),
    "an unknown verb": (
        change("systems.toml", '"disable_tool"', '"delete_everything"'), "systems.toml", "helper.controls.0.verb",
        "delete_everything",
    ),
    "a verb that the connector has not": (
        lambda desk: (
            change("systems.toml", 'kind = "memory"', 'kind = "flagd_file"')(desk),
            change("systems.toml", "\ntargets = {", "\n# targets = {")(desk),
        )[0], "systems.toml", "systems.helper.controls.system-prompt.verb", "roll_back_prompt",
    ),
    "an unknown probe": (
        change("systems.toml", 'probes = ["refund"]', 'probes = ["moon"]'), "systems.toml",
        "helper.controls.refund-tool.probes", "moon",
    ),
    "an unknown control to photograph": (
        change("systems.toml", "control:refund-tool", "control:moon"), "systems.toml", "systems.helper.evidence.E.what", "moon",
    ),
    "an unknown key": (change("systems.toml", "owner =", "ownr ="), "systems.toml", "helper.ownr", "unknown key"),
    "an unknown key of a limit": (
        lambda desk: desk.write("defaults.toml", "run_lease = 3"), "defaults.toml", "run_lease", "unknown key",
    ),
    "an unknown key of a connector": (
        change("systems.toml", "\ntargets =", "\nshape = 3\ntargets ="), "systems.toml",
        "systems.helper.connections.side.settings.shape", "unknown",
    ),
    "an unknown table": (
        change("people.toml", "[people.ana]", "[persons.zoe]\n[people.ana]"), "people.toml", "persons", "persons",
    ),
    "a role that is no name": (
        change("people.toml", '"incident-commander"', '"Incident Commander"'), "people.toml", "ana.roles.0", "Incident Commander",
    ),
    "one secret of codes for two people": (
        change("people.toml", "file:secrets/ben.code", "file:secrets/./ana.code"), "people.toml", "people.ben.code_secret",
        "that of ana: one secret must mean one person",
    ),
    "a key that is none": (
        change("people.toml", "ssh-ed25519 ", "ssh-ed25519 x"), "people.toml", "people.ana.ssh_keys[0]", "not base64",
    ),
    "no people": (without("people.toml"), "people.toml", "the file", "none"),
    "no policy": (without("policy.toml"), "policy.toml", "the file", "none"),
    "no TOML": (lambda desk: desk.write("policy.toml", "rights = ["), "policy.toml", "the file", "TOML"),
    "a practice connector on a real system": (
        change("systems.toml", "practice = true", "practice = false"), "systems.toml",
        "systems.helper.connections.side.kind", "memory",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("wrong", "file", "key", "found"), BAD.values(), ids=BAD)
def test_wrong_configuration_is_named_and_nothing_starts(
    desk: Desk, wrong: Change, file: str, key: str, found: str
) -> None:
    wrong(desk)
    ran = desk("check", "--files", "--json")
    assert (ran.code, ran.err) == (1, "")
    said = " ".join(one["found"] for one in ran.json["findings"] if one["level"] == "wrong")
    named(said, file, key, found)
    up = desk("up")
    assert (up.code, up.out) == (1, "")
    named(up.err, file, key, found)
    assert not (desk.home / "up.json").exists()
    assert not (desk.home / "prefect" / "port").exists()


def named(said: str, file: str, key: str, found: str) -> None:
    """File, key, expected and found, in one sentence."""
    assert re.search(rf"{re.escape(file)}: [^:]*{re.escape(key)}:", said), said
    assert "expected " in said
    assert ", found " in said
    assert found in said


SECRET = "hunter2-hunter2"
LEAKS: dict[str, Change] = {
    "of a person's codes": change("people.toml", 'code_secret = "file:secrets/ana.code"', f'code_secret = "{SECRET}"'),
    "of a connector": link(SECRET),
}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_a_secret_where_a_reference_belongs_is_refused_and_never_shown(desk: Desk, leak: Change) -> None:
    leak(desk)
    for words in (
        ("check", "--files"),
        ("up",),
        ("policy", "diff"),
        ("declare", "--system", "helper", "--what", "x", "--as", "e"),
    ):
        ran = desk(*words)
        assert ran.code == 1
        assert "reference" in ran.out + ran.err
        assert "secret" in ran.out + ran.err
        assert SECRET not in ran.out + ran.err


def findings(desk: Desk, about: str, *words: str) -> list[str]:
    """What `check` says is wrong about this."""
    told = desk("check", "--json", *words).json
    return [one["found"] for one in told["findings"] if one["about"].startswith(about) and one["level"] != "ok"]


def test_a_sound_installation_is_ready_but_for_the_engine(desk: Desk) -> None:
    assert desk("check", "--files", "--json").code == 0
    ran = desk("check", "--json")
    assert (ran.code, ran.json["ready"]) == (1, False)
    assert [one["about"] for one in ran.json["findings"] if one["level"] == "wrong"] == ["Prefect"]
    assert "connector helper/side" in [one["about"] for one in ran.json["findings"]]


def test_a_secret_that_others_may_read_or_that_is_not_there(desk: Desk) -> None:
    (desk.home / "secrets" / "ana.code").chmod(0o644)
    (desk.home / "secrets" / "ben.code").unlink()
    assert len(findings(desk, "secret of people", "--files")) == 2


def test_too_few_people_with_a_usable_proof(desk: Desk) -> None:
    text = (desk.home / "config" / "people.toml").read_text()
    desk.write("people.toml", re.sub(r'ssh_keys = \["ssh-ed25519 \S+ cleo"\]\ncode', "code", text))
    wrong = findings(desk, "rights on helper", "--files")
    assert wrong == []
    desk.write("people.toml", re.sub(r'ssh_keys = \["ssh-ed25519 \S+ (cleo|dora)"\]\n', "", text))
    wrong = findings(desk, "rights on helper", "--files")
    assert any("giving back refund-tool" in one and "found 1 (ana)" in one for one in wrong)


def test_no_right_at_all(desk: Desk) -> None:
    text = (desk.home / "config" / "policy.toml").read_text()
    desk.write("policy.toml", text.rpartition("[[rights]]")[0])
    assert any("nobody may" in one for one in findings(desk, "rights on helper", "--files"))


def test_a_connector_that_does_not_answer(desk: Desk) -> None:
    desk.change("systems.toml", f'path = "{desk.home}/world.json"', 'path = "/nowhere/at/all.json"')
    assert "cannot be used" in findings(desk, "connector helper/side")[0]


def test_evidence_without_a_source_is_told_before_it_is_missed(desk: Desk) -> None:
    desk.change("systems.toml", 'D = "it keeps none"', "")
    assert "no source for D (memory)" in findings(desk, "evidence of helper", "--files")[0]


def test_a_forged_ledger_is_found(desk: Desk) -> None:
    import sqlite3

    desk.declare()
    with sqlite3.connect(desk.home / "ledger.db") as database:
        changed = "cast(replace(cast(core as text), 'helper', 'hacker') as blob)"
        assert database.execute(f"update quell_entries set core = {changed}").rowcount > 0  # noqa: S608
    database.close()
    wrong = findings(desk, "ledger", "--files")
    assert "faults" in wrong[0]


def test_a_changed_configuration_grants_nothing_until_it_is_active(desk: Desk) -> None:
    desk.declare()
    assert desk("policy", "diff", "--json").json["same"] is True
    desk.change("policy.toml", "probes_in_a_row = 1", "probes_in_a_row = 2")
    differ = desk("policy", "diff", "--json")
    assert (differ.code, differ.json["differences"]) == (
        1, [{"key": "policy.probes_in_a_row", "active": "1", "files": "2"}],
    )  # fmt: skip
    assert "probes_in_a_row" in findings(desk, "active configuration", "--files")[0]
    assert desk.installation.active().policy.probes_in_a_row == 1
    ran = desk("policy", "activate", "--json")
    assert (ran.code, ran.json["changed"], ran.json["signed_by"]) == (0, True, None)
    assert desk.installation.active().policy.probes_in_a_row == 2
    assert desk("policy", "activate", "--json").json["changed"] is False


def test_where_owners_are_named_only_their_key_activates(desk: Desk) -> None:
    desk.change("policy.toml", "waiver_roles", 'owners = ["ana"]\nwaiver_roles')
    desk.declare()
    desk.change("policy.toml", "probes_in_a_row = 1", "probes_in_a_row = 2")
    refused: tuple[list[str], ...] = (
        [], ["--as", "ana"], ["--as", "cleo", "--key", str(desk.keys["cleo"])], ["--as", "ana", "--key", str(desk.keys["cleo"])],
        ["--as", "zoe", "--key", str(desk.keys["ana"])], ["--as", "A Na", "--key", str(desk.keys["ana"])],
    )  # fmt: skip
    for words in refused:
        ran = desk("policy", "activate", "--json", *words)
        assert (ran.code, ran.json["error"]["now"] != "") == (1, True)
    assert desk.installation.active().policy.probes_in_a_row == 1
    on_record = desk.installation.store.entries(types=(EntryType.ACTIVATION_REFUSED,))
    assert [entry.body["claimed_person"] for entry in on_record] == [None, "ana", "cleo", "ana", None, None]
    assert "expected a signature of ana" in on_record[0].body["because"]
    ran = desk("policy", "activate", "--as", "ana", "--key", str(desk.keys["ana"]), "--json")
    assert (ran.code, ran.json["signed_by"]) == (0, "ana")
    entry = desk.installation.store.entries(types=(EntryType.CONFIGURATION_ACTIVATED,))[-1]
    assert (entry.actor.name, entry.body["signed_by_person"]) == ("ana", True)
    assert "signed by ana" in desk("policy", "show").out


def test_files_that_are_not_sound_are_refused_on_record_without_what_they_say(desk: Desk) -> None:
    desk.declare()
    desk.change("people.toml", 'code_secret = "file:secrets/ana.code"', f'code_secret = "{SECRET}"')
    assert desk("policy", "activate", "--json").code == 1
    (entry,) = desk.installation.store.entries(types=(EntryType.ACTIVATION_REFUSED,))
    assert entry.body["because"] == "people.toml: ana.code_secret is not as it must be"


def test_an_owner_who_makes_themself_one_does_not_count(desk: Desk) -> None:
    """The active policy decides who may change it, not the files that are proposed."""
    desk.change("policy.toml", "waiver_roles", 'owners = ["ana"]\nwaiver_roles')
    desk.declare()
    desk.change("policy.toml", 'owners = ["ana"]', 'owners = ["cleo"]')
    ran = desk("policy", "activate", "--as", "cleo", "--key", str(desk.keys["cleo"]), "--json")
    assert (ran.code, "does not own the policy" in ran.json["error"]["problem"]) == (1, True)


@pytest.mark.parametrize("command", ["up", "keep", "door"])
def test_nothing_starts_on_a_ledger_that_was_edited_meanwhile(desk: Desk, command: str) -> None:
    desk.declare()
    with closing(sqlite3.connect(desk.home / "ledger.db")) as line, line:
        line.execute("""UPDATE quell_entries SET core = CAST(core || ' ' AS BLOB) WHERE "index" = 1""")
    ran = desk(command)
    assert ran.code == 3
    assert "entry 1 does not match its leaf hash" in ran.out + ran.err


def test_what_is_shipped_can_be_started_and_lets_nobody_decide(tmp_path: Path) -> None:
    shipped = load_configuration(load_settings(tmp_path, {}))
    assert shipped.policy.rights == ()
    assert not shipped.people
    assert not shipped.systems
    assert not shipped.sources

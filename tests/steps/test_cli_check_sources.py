"""Sources of signals: what is wrong in their file is named, and whether they can be heard tonight is told."""

import pytest

from runbooks.domain.instants import later
from tasks.ledger import clock
from tests.steps.desk import Desk
from tests.steps.doorstep import keep_secret
from tests.steps.test_cli_check import findings, named
from tests.steps.test_intake_silence import arrive, ns

GOOD = '[sources.code]\nsender = "github"\nquiet_after_minutes = 60\nsecrets = [{id = "one", secret = "file:secrets/code"}]\n'
BAD = {
    # what is wrong: the text, and the key and the found value that must be named
    "an unknown sender": (GOOD.replace("github", "gitlub"), "code.sender", "gitlub"),
    "an unknown key": (GOOD.replace("quiet_after_minutes", "quiet_after"), "code.quiet_after", "unknown key"),
    "a secret that is none": (GOOD.replace("file:secrets/code", "hunter2"), "code.secrets.0.secret", "not shown"),
    "two secrets of one name": (GOOD.replace("}]", '}, {id = "one", secret = "env:TWO"}]'), "code", "dict"),
    "two ways to prove it": (GOOD + 'unproven = true\ntoken = {place = "bearer"}\n', "code", "dict"),
    "no way to prove it": ("[sources.code]\n", "code", "dict"),
    "no secret": (GOOD.partition("secrets")[0], "code", "dict"),
    "a text that cannot be signed": (GOOD + 'signing = {signed_text = "{bodies}"}\n', "code.signing", "dict"),
    "a name that is none": (GOOD.replace("sources.code", 'sources."Co de"'), "Co de.[key]", "Co de"),
    "an expression that is none": (
        GOOD + '[[sources.code.mappings]]\nname = "a"\nkind = "body.["\n',
        "code.mappings.a.kind",
        "body.[",
    ),
    "an expression that begins nowhere": (
        GOOD + '[[sources.code.mappings]]\nname = "a"\nkind = "data.kind"\n',
        "code.mappings.a.kind",
        "begins with data",
    ),
    "a mapping without a kind": (GOOD + '[[sources.code.mappings]]\nname = "a"\n', "code.mappings.0.kind", "nothing"),
    "a system that nobody knows": (GOOD + 'scope = {system = "bot"}\n', "code.scope.system", "bot"),
    "a system that a name stands for": (GOOD + 'scope = {systems = {x = "bot"}}\n', "code.scope.systems", "bot"),
    "a rule for a source that is none": (
        GOOD + '[[rules]]\nname = "a"\nkinds = ["*"]\nsources = ["pager"]\noutcome = "supplier"\n',
        "rules[0].sources",
        "pager",
    ),
    "a rule that asks nothing": (GOOD + '[[rules]]\nname = "a"\noutcome = "supplier"\n', "0", "dict"),
    "a rule without an outcome": (GOOD + '[[rules]]\nname = "a"\nkinds = ["*"]\n', "0.outcome", "nothing"),
    "no stanza": ("[sources]\ncode = 1\n", "code", "1"),
    "something else in the file": ("[senders.code]\n", "senders", "senders"),
    "no TOML": ("[sources", "the file", "TOML"),
}


def test_a_source_that_nothing_reads_is_told(desk: Desk) -> None:
    desk.write("sources.toml", "[sources.odd]\nunproven = true\nquiet_after_minutes = 5\n")
    assert findings(desk, "source odd", "--files") == [
        "nothing says how it is read: whatever comes is kept and shown as a defect"
    ]


def test_own_keywords_hold_in_place_of_the_shipped_ones(desk: Desk) -> None:
    shipped = desk.installation.proposed().keywords
    assert len(shipped) > 5
    desk.write("keywords.toml", '[[keywords]]\nname = "ours"\noutcome = "supplier"\ngroups = [["it is them"]]\n')
    assert [rule.name for rule in desk.installation.proposed().keywords] == ["ours"]
    desk.write("keywords.toml", '[[keywords]]\nname = "ours"\noutcome = "supplier"\ngroups = [["IT"]]\n')
    assert "keywords.toml: 0.groups.0.0" in desk("check", "--files").err + desk("check", "--files").out


@pytest.mark.parametrize(("text", "key", "found"), BAD.values(), ids=BAD)
def test_a_wrong_source_is_named_and_nothing_starts(desk: Desk, text: str, key: str, found: str) -> None:
    desk.write("sources.toml", text)
    ran = desk("check", "--files", "--json")
    assert (ran.code, ran.err) == (1, "")
    said = " ".join(one["found"] for one in ran.json["findings"] if one["level"] == "wrong")
    named(said, "sources.toml", key, found)
    assert "hunter2" not in ran.out
    assert desk("door").code == 1
    assert not (desk.home / "door").exists()


def test_a_source_that_can_be_heard(desk: Desk) -> None:
    assert "takes nothing in" in findings(desk, "signals", "--files")[0]
    keep_secret(desk.home, "code", "w0rd")
    desk.write("sources.toml", GOOD)
    assert desk("check", "--files", "--json").code == 0
    assert findings(desk, "source code", "--files") == []
    desk.write("sources.toml", GOOD.replace("quiet_after_minutes = 60\n", ""))
    assert "went quiet" in findings(desk, "source code", "--files")[0]


def test_a_source_that_cannot_be_heard(desk: Desk) -> None:
    keep_secret(desk.home, "code", "w0rd")
    keep_secret(desk.home, "hook", "whsec_short")
    over = GOOD.replace('code"}', 'code", not_after = "2026-01-01T00:00:00.000000000Z"}')
    hook = '[sources.hook]\nsender = "standard-webhooks"\nsecrets = [{id = "one", secret = "file:secrets/hook"}]\n'
    gone = '[sources.gone]\nsender = "github"\nsecrets = [{id = "one", secret = "file:secrets/gone"}]\n'
    desk.write("sources.toml", over + hook + gone)
    assert "valid today" in findings(desk, "source code", "--files")[0]
    assert "expected base64" in findings(desk, "source hook", "--files")[0]
    assert len(findings(desk, "secret of sources.gone.secrets[one]", "--files")) == 1
    assert findings(desk, "secret of sources.code", "--files") == []


def test_what_waits_and_who_is_quiet(desk: Desk) -> None:
    keep_secret(desk.home, "code", "w0rd")
    desk.write("sources.toml", GOOD)
    assert findings(desk, "spool", "--files") == []
    arrive(desk, "code", ns(later(clock(), -2 * 3600)))
    assert "1 deliveries wait to be read" in findings(desk, "spool", "--files")[0]
    assert "quiet: nothing came since" in findings(desk, "source code", "--files")[0]
    arrive(desk, "code", ns(clock()))
    assert findings(desk, "source code", "--files") == []

"""The page of senders: every stanza on it is read as configuration, and every shipped sender has its line."""

import re
import subprocess
import time
import tomllib

from runbooks.domain.rules import SignalRule
from runbooks.domain.sources import Source, written_out
from tasks.intake.mapping import faults
from tasks.intake.verifying import check_signature, read_claim, signing_key
from tasks.settings import ROOT, SENDERS
from tests.steps.deliveries import a_source, read, shipped_signing
from tests.steps.doorstep import WHSEC

PAGE = (ROOT / "config" / "SENDERS.md").read_text(encoding="utf-8")
TEMPLATES = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
STANZAS = [tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)]


def test_every_stanza_is_right() -> None:
    seen = 0
    for stanza in STANZAS:
        for told in stanza["sources"].values():
            shipped = tomllib.loads((SENDERS / f"{told['sender']}.toml").read_text()) if "sender" in told else {}
            assert not list(faults(Source.model_validate(written_out(told, shipped))))
            seen += 1
        assert all(SignalRule.model_validate(rule) for rule in stanza.get("rules", []))
    assert seen == 2


def test_every_sender_has_a_line_and_no_line_is_without_one() -> None:
    listed = re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)
    assert sorted(listed[1:] if listed[0] == "sender" else listed) == sorted(
        file.stem for file in SENDERS.glob("*.toml")
    )


def test_the_template_for_datadog_is_the_one_that_its_mapping_reads() -> None:
    (signal,) = read(TEMPLATES[0].encode(), a_source("datadog"))
    assert signal.text == "$EVENT_TITLE\n$TEXT_ONLY_MSG"


def test_the_template_for_zendesk_is_the_one_that_its_mapping_reads() -> None:
    filled = "8819", "Help Centre", "bot ai-incident", "Urgent", "2026-11-21T01:58Z", "Your bot", "It lied"
    (empty,) = read(TEMPLATES[1].encode(), a_source("zendesk"))
    assert empty.text == "{{ticket.title}}\n{{ticket.description}}"
    assert len(TEMPLATES) == 2
    names = re.findall(r"\{\{ticket\.[a-z_.]+\}\}", TEMPLATES[1])
    body = TEMPLATES[1]
    for name, value in zip(names, filled, strict=True):
        body = body.replace(name, value)
    (signal,) = read(body.encode(), a_source("zendesk", scope={"systems": {"help-centre": "support-agent"}}))
    assert (signal.kind, signal.system, signal.labels) == ("report.zendesk", "support-agent", ("bot", "ai-incident"))
    assert (signal.vendor_severity, signal.human, signal.text) == ("urgent", True, "Your bot\nIt lied")
    assert signal.occurred_at == "2026-11-21T01:58:00.000000000Z"


def test_the_recipe_for_anything_else_reads_what_it_says() -> None:
    mappings = STANZAS[1]["sources"]["newrelic"]["mappings"]
    (signal,) = read(
        {"issueId": "i", "state": "CLOSED", "priority": "HIGH", "title": "slow"}, a_source(mappings=mappings)
    )
    assert (signal.kind, signal.state, signal.vendor_severity, signal.text) == (
        "newrelic.issue",
        "resolved",
        "high",
        "slow",
    )


def test_the_lines_for_a_shell_sign_as_the_door_expects() -> None:
    (lines,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    program = "curl() { printf '%s\\n' \"$@\"; }\n" + lines.replace("whsec_SECRET", WHSEC)
    said = subprocess.run(["sh", "-eu", "-c", program], capture_output=True, text=True, check=True).stdout.splitlines()
    headers = dict(line.split(": ", 1) for line in said if re.match(r"[a-z-]+: ", line))
    body = said[said.index("--data-binary") + 1].encode()
    signing = shipped_signing("standard-webhooks")
    claim = read_claim(signing, headers, time.time_ns())
    assert claim is not None
    assert check_signature(claim, [signing_key("k", WHSEC, signing.secret_form)], body) is not None
    (signal,) = read(body, a_source("standard-webhooks"), headers)
    assert (signal.system, signal.labels) == ("support-agent", ("mass-tool-use",))

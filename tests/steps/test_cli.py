"""The commands as people type them: exit codes, one JSON object and nothing else, words that help at 2 a.m."""

from tests.steps.desk import Desk


def test_declare_opens_and_says_that_prefect_is_not_there(desk: Desk) -> None:
    ran = desk("declare", "--system", "helper", "--what", "it refunded", "--as", "eve", "--archetype", "prompt-injection", "--json")  # fmt: skip
    assert ran.code == 0
    assert ran.json["started"] is False
    assert "quell up" in ran.json["told"]
    assert ran.json["known_system"] is True
    assert ran.json["requester"] == {"name": "eve", "proven": False}


def test_the_whole_way_of_a_decision(desk: Desk) -> None:
    incident = desk.declare()
    desk.respond(incident)
    waiting = desk("inbox", "--json").json["requests"]
    assert [one["action"] for one in waiting] == ["refund-tool", "system-prompt"]
    first = waiting[0]["request"]
    one = desk.approve(first, "ana")
    assert (one.code, one.json["standing"], one.json["still_needed"]) == (0, "waiting", 1)
    two = desk.approve(first, "cleo")
    assert (two.code, two.json["standing"], two.json["approvers"]) == (0, "granted", ["ana", "cleo"])
    shown = desk("show", incident, "--json").json
    assert [a["standing"] for a in shown["approvals"]] == ["granted", "waiting"]
    print(desk("show", incident).out)
    print(desk("inbox").out)
    print(desk("incidents").out)

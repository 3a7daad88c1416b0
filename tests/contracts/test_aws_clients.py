"""Clients of AWS: used again, never beyond the keys that are read at each call, nor the deadline, nor by two at once."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tasks.connectors import _aws
from tasks.connectors._aws import Aws, AwsSettings
from tasks.connectors._signals import Deadline, NotDoneError, Place

SECRET = "file:responder"


class Boto:
    """What botocore would have made: it answers with the key that it was made with."""

    made: list["Boto"]

    def __init__(self, access: str, config: Any) -> None:
        self.access, self.config, self.calls, self.closings = access, config, 0, 0

    def get_caller_identity(self) -> dict[str, str]:
        assert self.closings == self.calls, "each call has a connection of its own"
        self.calls += 1
        return {"Arn": self.access}

    def close(self) -> None:
        self.closings += 1


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Boto]:
    found: list[Boto] = []

    def client_of(service: str, keys: _aws.Keys, told: dict[str, Any]) -> Boto:
        assert service == "sts"
        assert told["region_name"] == "eu-central-1"
        found.append(Boto(keys.access, told["config"]))
        return found[-1]

    monkeypatch.setattr(_aws, "_client_of", client_of)
    monkeypatch.setattr(_aws, "_idle", [])
    return found


class Secrets(dict[str, str]):
    """Read at use; how often."""

    reads = 0

    def resolve(self, reference: str) -> str:
        self.reads += 1
        return self[reference]


@pytest.fixture
def secrets() -> Secrets:
    return Secrets({SECRET: keys("first")})


@pytest.fixture
def aws(secrets: Secrets) -> Aws:
    return a_connectors(secrets)


def a_connectors(secrets: Secrets) -> Aws:
    settings = AwsSettings(region="eu-central-1", credentials=SECRET, connect_seconds=2.0, read_seconds=3.0)
    deadline = Deadline()
    deadline.restart(60)
    return Aws(settings, Place("aws_iam", "iam", "agent", {}, secrets.resolve, lambda: ""), deadline)


def keys(access: str) -> str:
    return json.dumps({"access_key_id": access, "secret_access_key": "hidden"})


def who(aws: Aws) -> str:
    return str(aws.call("sts", "get_caller_identity")["Arn"])


def test_calls_use_a_client_again_and_each_reads_the_keys(aws: Aws, made: list[Boto], secrets: Secrets) -> None:
    assert [who(aws), who(aws), who(aws)] == ["first"] * 3
    assert (len(made), secrets.reads) == (1, 3)
    assert made[0].closings == 3, "a stale connection would turn a failure into one that may have been done"


def test_keys_that_were_changed_meanwhile_are_used_at_once(aws: Aws, made: list[Boto], secrets: Secrets) -> None:
    assert who(aws) == "first"
    secrets[SECRET] = keys("second")
    assert who(aws) == "second"
    assert len(made) == 2
    secrets[SECRET] = "no keys"
    with pytest.raises(NotDoneError, match="expected JSON with access_key_id"):
        who(aws)


def test_no_call_waits_longer_than_there_is_time(aws: Aws, made: list[Boto]) -> None:
    who(aws)
    assert (made[0].config.connect_timeout, made[0].config.read_timeout) == (2.0, 3.0)
    aws._deadline.restart(1)
    who(aws)
    assert made[1].config.connect_timeout <= 1
    assert made[1].config.read_timeout <= 1
    aws._deadline.restart(60)
    who(aws)
    assert [boto.calls for boto in made] == [2, 1], "one that was made in a hurry gives up too early"
    assert len(_aws._idle) == 1, "and is not kept: it would push others out"
    aws._deadline.restart(0)
    with pytest.raises(NotDoneError, match="no time was left"):
        who(aws)


def test_keys_are_not_printed() -> None:
    assert "hidden" not in repr(_aws.Keys("access", "hidden", None))


def test_a_client_is_used_by_one_at_a_time(aws: Aws, made: list[Boto], secrets: Secrets) -> None:
    other = a_connectors(secrets)
    with aws._client("sts") as first, other._client("sts") as second:
        assert first is not second
        first.get_caller_identity()
        second.get_caller_identity()
    assert [who(aws), who(other)] == ["first"] * 2
    assert len(made) == 2


def test_another_connectors_keys_get_a_client_of_their_own(aws: Aws, made: list[Boto]) -> None:
    other = a_connectors(Secrets({SECRET: keys("other")}))
    assert [who(aws), who(other), who(aws), who(other)] == ["first", "other", "first", "other"]
    assert len(made) == 2


def test_another_place_gets_a_client_of_its_own(aws: Aws, made: list[Boto]) -> None:
    who(aws)
    aws._settings = aws._settings.model_copy(update={"endpoint_url": "http://127.0.0.1:9"})
    who(aws)
    assert len(made) == 2


def test_few_clients_wait_for_their_next_use(aws: Aws, made: list[Boto], secrets: Secrets) -> None:
    for number in range(_aws.MOST_IDLE + 1):
        secrets[SECRET] = keys(f"key-{number}")
        who(aws)
    secrets[SECRET] = keys("key-0")
    who(aws)
    assert len(made) == _aws.MOST_IDLE + 2
    assert len(_aws._idle) == _aws.MOST_IDLE


def test_keys_are_not_kept_for_ever(aws: Aws, made: list[Boto], monkeypatch: pytest.MonkeyPatch) -> None:
    who(aws)
    monkeypatch.setattr(_aws, "IDLE_SECONDS", 0.0)
    who(aws)
    assert len(made) == 2
    assert len(_aws._idle) == 1


def test_changed_certificates_get_a_client_of_their_own(aws: Aws, made: list[Boto], tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("one")
    aws._settings = aws._settings.model_copy(update={"ca_file": file})
    who(aws)
    who(aws)
    assert len(made) == 1
    os.utime(file, ns=(1, 1))
    who(aws)
    assert len(made) == 2


def test_two_sets_of_keys_never_share_a_client(secrets: Secrets) -> None:
    """Each client has the keys that it was made with, though all come from one session that knows none."""
    told = {"region_name": "eu-central-1", "endpoint_url": "http://127.0.0.1:9"}
    one, two = (_aws._client_of("sts", _aws.Keys(name, "s", None), dict(told)) for name in ("one", "two"))
    assert [client._request_signer._credentials.access_key for client in (one, two)] == ["one", "two"]
    assert _aws._maker().get_credentials() is None or _aws._maker().get_credentials().access_key not in {"one", "two"}
    assert secrets.reads == 0

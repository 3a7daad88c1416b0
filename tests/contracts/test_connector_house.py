"""House rules of the connectors: who may call an effect, what settings say, what the registry knows."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import tasks.connectors
from runbooks.domain.errors import ConfigurationError
from tasks.connectors import kinds, open_connector
from tasks.connectors._signals import Limits, Place
from tasks.connectors.base import FINAL, Connector

FOLDER = Path(tasks.connectors.__file__).parent
EFFECTS = {"_apply", "_restore"}


def _calls(file: Path, names: set[str]) -> list[ast.Attribute]:
    """Every mention of a method of such a name that is not its definition, however it is then called."""
    tree = ast.parse(file.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in names]


def test_only_the_guard_calls_an_effect() -> None:
    callers = {file.name for file in FOLDER.glob("*.py") if _calls(file, EFFECTS)}
    assert callers == {"base.py"}


def test_the_guard_calls_an_effect_only_as_what_is_sent() -> None:
    """In base.py an effect stands only inside `send=lambda …` of an Effect; nothing there calls it."""
    tree = ast.parse((FOLDER / "base.py").read_text())
    inside = [
        node
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Effect"
        for keyword in call.keywords
        if keyword.arg == "send"
        for node in ast.walk(keyword.value)
        if isinstance(node, ast.Attribute) and node.attr in EFFECTS
    ]
    assert len(inside) == len(_calls(FOLDER / "base.py", EFFECTS)) == 2


def test_what_is_sent_is_sent_in_one_place_after_claim_and_record() -> None:
    """`send` of an Effect is called once in the folder, below `still_held` and `sending` in the same function."""
    sends = {file.name: _calls(file, {"send"}) for file in FOLDER.glob("*.py")}
    mine = [node for node in sends["_sending.py"] if ast.unparse(node) == "self._effect.send"]
    assert len(mine) == len(sends["_sending.py"]) == 1
    others = [ast.unparse(node) for name, found in sends.items() if name != "_sending.py" for node in found]
    assert others == ["client.send"], "httpx's own"
    function = next(
        node
        for node in ast.walk(ast.parse((FOLDER / "_sending.py").read_text()))
        if isinstance(node, ast.FunctionDef) and any(ast.unparse(n) == "self._effect.send" for n in ast.walk(node))
    )
    lines = {
        node.attr: node.lineno
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr in {"still_held", "sending", "send"}
    }
    assert lines["still_held"] < lines["sending"] < lines["send"]


def test_what_is_public_cannot_be_replaced() -> None:
    public = {name for name in vars(Connector) if not name.startswith("_") and callable(getattr(Connector, name))}
    assert public == set(FINAL)
    for name in FINAL:
        with pytest.raises(TypeError, match=name):
            type("Sly", (Connector,), {name: lambda *_: None})


@pytest.mark.parametrize("kind", kinds())
def test_no_kind_reads_the_environment_or_another_kind(kind: str) -> None:
    text = (FOLDER / f"{kind}.py").read_text()
    assert not [word for word in ("environ", "getenv", "import prefect", "from prefect") if word in text]
    assert not [
        other for other in kinds() if f"tasks.connectors.{other}" in text or f"connectors import {other}" in text
    ]


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_states_its_settings_and_refuses_others(kind: str) -> None:
    module = __import__(f"tasks.connectors.{kind}", fromlist=["Settings"])
    assert issubclass(module.Settings, Limits)
    assert module.Settings.model_config["frozen"]
    assert module.Settings.model_config["extra"] == "forbid"
    assert issubclass(module.connect, Connector)
    with pytest.raises(ConfigurationError):
        _open(kind, {"no_such_key": 1})


def _open(kind: str, settings: Mapping[str, Any]) -> Connector:
    return open_connector(kind, "identity", "shop", settings, str, lambda: "")


SECRET = "sk-live-4242"
OAUTH = {"issuer": "https://id.example.com", "client_id": "quell", "client_secret": "file:secret"}
AWS = {"region": "eu-central-1", "credentials": "file:key"}
WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("oauth", {**OAUTH, "client_secret": SECRET}, "settings.client_secret", "a secret where a reference belongs"),
    ("oauth", {**OAUTH, "tokens": {"a": SECRET}}, "settings.tokens.a", "a secret where a reference belongs"),
    ("aws_ssm", {**AWS, "credentials": SECRET}, "settings.credentials", "a secret where a reference belongs"),
    ("oauth", {**OAUTH, "isuer": "x"}, "settings.isuer", "an unknown one"),
    ("oauth", {"issuer": "https://id.example.com", "client_id": "quell"}, "settings.client_secret", "nothing"),
    ("oauth", {**OAUTH, "issuer": "https://u:p@id.example.com"}, "settings.issuer", "a str"),
    ("oauth", {**OAUTH, "client_path": "https://evil.example/{id}"}, "settings.client_path", "a str"),
    ("oauth", {**OAUTH, "read_seconds": 0}, "settings.read_seconds", "a int"),
    ("flagd_file", {"path": "f", "deadline_seconds": 10_000}, "settings.deadline_seconds", "a int"),
    ("no_such_kind", {}, "identity.kind", "'no_such_kind'"),
    ("base", {}, "identity.kind", "'base'"),
    ("../stores", {}, "identity.kind", "'../stores'"),
]


@pytest.mark.parametrize(("kind", "settings", "key", "found"), WRONG)
def test_a_wrong_setting_is_named_and_not_shown(kind: str, settings: dict[str, Any], key: str, found: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _open(kind, settings)
    assert key in caught.value.key
    assert caught.value.key.endswith(key.rpartition(".")[2])
    assert f"found {found}" in caught.value.problem
    assert SECRET not in str(caught.value)


def test_opening_contacts_nobody_and_reads_no_secret() -> None:
    def resolve(reference: str) -> str:
        raise AssertionError(f"read {reference}")

    assert open_connector("oauth", "identity", "shop", OAUTH, resolve, lambda: "")


def test_a_secret_that_cannot_be_read_is_named_and_nothing_is_sent() -> None:
    def resolve(reference: str) -> str:
        raise FileNotFoundError(reference)

    connector = open_connector("oauth", "identity", "shop", {**OAUTH, "introspection_path": "/i"}, resolve, lambda: "")
    assert connector.check() == ["shop/identity: the secret file:secret cannot be read"]


def test_a_place_never_remembers_a_secret() -> None:
    answers = iter(["one\n", "two\n"])
    place = Place("oauth", "identity", "shop", {}, lambda _: next(answers), lambda: "")
    assert (place.secret("file:a"), place.secret("file:a")) == ("one", "two")
    assert "one" not in repr(place)

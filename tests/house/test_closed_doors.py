"""What tests/conftest.py promises: no way out of this machine, and no accidental Prefect server."""

import os
import socket

import pytest


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_a_connection_outside_is_refused_and_recorded(address: str, outside_calls: list[str]) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as outward, pytest.raises(ConnectionError, match="loopback"):
        outward.connect((address, 9))
    assert outside_calls == [f"socket.connect {address}"]
    outside_calls.clear()


def test_a_look_up_outside_is_refused_and_recorded(outside_calls: list[str]) -> None:
    with pytest.raises(ConnectionError, match="loopback"):
        socket.getaddrinfo("example.invalid", 9)
    assert outside_calls
    outside_calls.clear()


def test_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=5):
        pass
    assert socket.getaddrinfo("localhost", 0)


def test_no_server_is_started_by_accident() -> None:
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    assert settings.server.ephemeral.enabled is False
    assert settings.server.analytics_enabled is False
    assert settings.api.url is None
    assert str(settings.home) == os.environ["PREFECT_HOME"]

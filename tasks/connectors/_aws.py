"""One way to AWS for all connectors: explicit credentials, bounded time, no hidden retries, failures sorted."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, Literal, NamedTuple, TypeVar

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
)
from botocore.loaders import create_loader

from runbooks.domain.reference import SecretReference
from tasks.connectors._http import Network
from tasks.connectors._signals import Deadline, MaybeDoneError, MissingError, NotDoneError, Place

T = TypeVar("T")
_MODELS = create_loader()
"""AWS's service descriptions, read once: a client then costs 25 ms instead of 200."""
_BUSY = frozenset({"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"})
_MISSING = frozenset({"NoSuchEntity", "ParameterNotFound", "ParameterVersionNotFound", "ParameterVersionLabelNotFound"})


class AwsSettings(Network):
    """Where and as whom."""

    region: str
    endpoint_url: str | None = None
    credentials: SecretReference | Literal["sdk"]
    """A reference to JSON with access_key_id, secret_access_key and maybe session_token; the word `sdk` means AWS's own
    chain (an instance role, a profile), which is then a part of the environment that counts."""


class Keys(NamedTuple):
    """One identity's keys; never printed."""

    access: str
    secret: str
    token: str | None

    def __repr__(self) -> str:
        return "Keys(…)"


class _Way(NamedTuple):
    """Whom a client calls, and how long it waits: one that was made for less time would give up too early."""

    service: str
    region: str
    endpoint_url: str | None
    proxy: str | None
    ca_file: str | None
    ca_changed_ns: int
    connect_seconds: float
    read_seconds: float


class Aws:
    """Credentials are read at every call, which uses only a client that was made for these; failures are sorted."""

    def __init__(self, settings: AwsSettings, place: Place, deadline: Deadline) -> None:
        self._settings = settings
        self._place = place
        self._deadline = deadline

    def call(self, service: str, operation: str, **arguments: Any) -> Any:
        """One call. Raises MissingError, NotDoneError or MaybeDoneError, with AWS's error code and never its text."""
        with self._client(service) as client:
            return _sorted_out(operation, lambda: getattr(client, operation)(**arguments))

    def pages(self, service: str, operation: str, **arguments: Any) -> list[Any]:
        """All pages of a listing."""
        with self._client(service) as client:
            pages = client.get_paginator(operation).paginate(**arguments)
            return _sorted_out(operation, lambda: list(pages))

    def access_key_id(self) -> str | None:
        """The access key that quell itself uses."""
        keys = self._keys()
        if keys is not None:
            return keys.access
        found = boto3.session.Session(region_name=self._settings.region).get_credentials()
        return None if found is None else str(found.access_key)

    @contextmanager
    def _client(self, service: str) -> Iterator[Any]:
        """A boto3 client for one call, which ends before the deadline; its connections are closed after it."""
        left, settings = self._deadline.left(), self._settings
        if left <= 0:
            raise NotDoneError(f"{service}: no time was left to call it")
        keys = self._keys()
        way = _Way(
            service, settings.region, settings.endpoint_url, settings.proxy,
            str(settings.ca_file) if settings.ca_file else None, _changed_ns(settings.ca_file),
            min(settings.connect_seconds, left), min(settings.read_seconds, left),
        )  # fmt: skip
        client = (_taken(way, keys) if keys is not None else None) or _made(way, keys)
        try:
            yield client
        finally:
            client.close()
            if keys is not None and left >= max(settings.connect_seconds, settings.read_seconds):
                _lay_down(way, keys, client)  # one that was made in a hurry fits no other call

    def _keys(self) -> Keys | None:
        """As they are now; None where AWS's own chain finds them."""
        if self._settings.credentials == "sdk":
            return None
        try:
            found = json.loads(self._place.secret(self._settings.credentials))
            return Keys(found["access_key_id"], found["secret_access_key"], found.get("session_token"))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise NotDoneError(
                "credentials: expected JSON with access_key_id and secret_access_key, found something else"
            ) from None


SERVICES = ("ssm", "iam", "sts")
MOST_IDLE, IDLE_SECONDS = 8, 300.0
"""A client costs 10 to 20 ms of processor. It holds the keys that it was made for: after that time the next call drops it."""
_idle: list[tuple[float, _Way, Keys, Any]] = []
"""Clients that nobody uses now, since when (monotonic seconds), and what each was made for; the oldest first."""
_turn = Lock()
_making = Lock()
"""botocore makes one client at a time."""


def _taken(way: _Way, keys: Keys) -> Any:
    """An idle client for these very keys, for one caller alone: who closes its connections breaks nobody's call. Or None."""
    with _turn:
        _idle[:] = [one for one in _idle if one[0] > monotonic() - IDLE_SECONDS]
        for number, (_, known, its, client) in enumerate(_idle):
            if known == way and its == keys:
                del _idle[number]
                return client
    return None


def _lay_down(way: _Way, keys: Keys, client: Any) -> None:
    with _turn:
        _idle.append((monotonic(), way, keys, client))
        del _idle[:-MOST_IDLE]


def _changed_ns(file: Path | None) -> int:
    """A client that is kept trusts what it read: a changed file makes another."""
    return file.stat().st_mtime_ns if file is not None and file.exists() else 0


def _made(way: _Way, keys: Keys | None) -> Any:
    """A client; what AWS's own chain finds is looked for each time, and a client made for it."""
    config = Config(
        connect_timeout=way.connect_seconds, read_timeout=way.read_seconds, retries={"total_max_attempts": 1},
        proxies={"http": way.proxy, "https": way.proxy} if way.proxy else {}, ignore_configured_endpoint_urls=True,
    )  # fmt: skip
    told = {"region_name": way.region, "endpoint_url": way.endpoint_url, "config": config, "verify": way.ca_file}
    return boto3.session.Session().client(way.service, **told) if keys is None else _client_of(way.service, keys, told)


@cache
def _maker() -> boto3.session.Session:
    """Knows no credentials: each client is given its own. Made once (20 ms); a client of it costs 10 ms."""
    return boto3.session.Session(botocore_session=_core())


def _client_of(service: str, keys: Keys, told: dict[str, Any]) -> Any:
    with _making:
        return _maker().client(
            service,
            aws_access_key_id=keys.access,
            aws_secret_access_key=keys.secret,
            aws_session_token=keys.token,
            **told,
        )


def warm() -> None:
    """Descriptions of services read (100 ms), for processes that will be forked."""
    for service in SERVICES:
        _client_of(service, Keys("-", "-", None), {"region_name": "us-east-1"}).close()


def _core() -> botocore.session.Session:
    core = botocore.session.Session(session_vars={"config_file": (None, None, None, None)})
    core.register_component("data_loader", _MODELS)
    return core


def _sorted_out(what: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except ClientError as problem:
        code = str(problem.response.get("Error", {}).get("Code", "unknown"))
        status = int(problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in _MISSING:
            raise MissingError(f"{what}: AWS answered {code}") from None
        if code in _BUSY:
            raise NotDoneError(f"{what}: AWS answered {code}", retry_after=1.0) from None
        if 400 <= status < 500:
            raise NotDoneError(f"{what}: AWS answered {code} ({status})") from None
        raise MaybeDoneError(f"{what}: AWS answered {code} ({status})") from None
    except (ConnectTimeoutError, EndpointConnectionError, NoCredentialsError, ParamValidationError) as problem:
        raise NotDoneError(f"{what}: not sent ({type(problem).__name__})") from None
    except HTTPClientError as problem:
        raise MaybeDoneError(f"{what}: sent, no answer ({type(problem).__name__})") from None
    except BotoCoreError as problem:
        raise MaybeDoneError(f"{what}: {type(problem).__name__}") from None

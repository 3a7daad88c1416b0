"""One way to AWS for all connectors: explicit credentials, bounded time, no hidden retries, failures sorted."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
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


class _Client(NamedTuple):
    """One that was made for these keys, and waits for nothing longer than this."""

    keys: Keys | None
    longest_seconds: float
    wanted_seconds: float
    """As long as a call may take when there is time enough."""
    boto: Any

    def fits(self, keys: Keys | None, left: float) -> bool:
        """Whether the next call, with so many seconds left, may use it: made for less it would give up too early.

        What AWS's own chain finds is looked for at each call, and so is a client for it.
        """
        return keys is not None and self.keys == keys and self.longest_seconds == min(self.wanted_seconds, left)


class Aws:
    """Credentials are read at every call; failures are sorted. One act's calls share a client while these stay the same."""

    def __init__(self, settings: AwsSettings, place: Place, deadline: Deadline) -> None:
        self._settings = settings
        self._place = place
        self._deadline = deadline
        self._kept: dict[str, _Client] = {}

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
        left = self._deadline.left()
        if left <= 0:
            raise NotDoneError(f"{service}: no time was left to call it")
        keys, kept = self._keys(), self._kept.get(service)
        if kept is None or not kept.fits(keys, left):
            kept = self._kept[service] = self._made(service, keys, left)
        try:
            yield kept.boto
        finally:
            kept.boto.close()

    def _made(self, service: str, keys: Keys | None, left: float) -> _Client:
        connect, read = min(self._settings.connect_seconds, left), min(self._settings.read_seconds, left)
        config = Config(
            connect_timeout=connect, read_timeout=read, retries={"total_max_attempts": 1},
            proxies={"http": self._settings.proxy, "https": self._settings.proxy} if self._settings.proxy else {},
            ignore_configured_endpoint_urls=True,
        )  # fmt: skip
        told = {
            "region_name": self._settings.region, "endpoint_url": self._settings.endpoint_url, "config": config,
            "verify": str(self._settings.ca_file) if self._settings.ca_file else None,
        }  # fmt: skip
        boto = boto3.session.Session().client(service, **told) if keys is None else _client_of(service, keys, told)
        wanted = max(self._settings.connect_seconds, self._settings.read_seconds)
        return _Client(keys, max(connect, read), wanted, boto)

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
_making = Lock()
"""botocore makes one client at a time."""


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

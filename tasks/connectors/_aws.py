"""One way to AWS for all connectors: explicit credentials, bounded time, no hidden retries, failures sorted."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

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


class Aws:
    """Clients made at use, so that credentials are read at use; failures are sorted."""

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
        credentials = self._session().get_credentials()
        return None if credentials is None else str(credentials.access_key)

    @contextmanager
    def _client(self, service: str) -> Iterator[Any]:
        """A boto3 client for one call: credentials are read at use, and the call ends before the deadline."""
        left = self._deadline.left()
        if left <= 0:
            raise NotDoneError(f"{service}: no time was left to call it")
        config = Config(
            connect_timeout=min(self._settings.connect_seconds, left),
            read_timeout=min(self._settings.read_seconds, left),
            retries={"total_max_attempts": 1},
            proxies={"http": self._settings.proxy, "https": self._settings.proxy} if self._settings.proxy else {},
            ignore_configured_endpoint_urls=True,
        )
        trusted = str(self._settings.ca_file) if self._settings.ca_file else None
        client = self._session().client(
            service, endpoint_url=self._settings.endpoint_url, config=config, verify=trusted
        )
        try:
            yield client
        finally:
            client.close()

    def _session(self) -> boto3.session.Session:
        if self._settings.credentials == "sdk":
            return boto3.session.Session(region_name=self._settings.region)
        try:
            keys = json.loads(self._place.secret(self._settings.credentials))
            access, secret, token = keys["access_key_id"], keys["secret_access_key"], keys.get("session_token")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise NotDoneError(
                "credentials: expected JSON with access_key_id and secret_access_key, found something else"
            ) from None
        try:
            core = _prepared.pop()
        except IndexError:  # several threads share them
            core = _core()
        return boto3.session.Session(access, secret, token, self._settings.region, botocore_session=core)


PREPARED = 3
SERVICES = ("ssm", "iam", "sts")
_prepared: list[botocore.session.Session] = []
"""Sessions that know no credentials yet, made before anybody waits for one."""


def warm() -> None:
    """Descriptions of services read (100 ms), and some sessions ready (20 ms). Each is used once: no secret is remembered."""
    if not _prepared:
        for service in SERVICES:
            boto3.session.Session("-", "-", region_name="us-east-1", botocore_session=_core()).client(service).close()
    while len(_prepared) < PREPARED:
        _prepared.append(_core())


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

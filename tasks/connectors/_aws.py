"""One way to AWS for all connectors: explicit credentials, bounded time, no hidden retries, failures sorted."""

import json
from collections.abc import Callable
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

from runbooks.domain.configuration import SecretReference
from tasks.connectors._signals import Deadline, Limits, MaybeDoneError, MissingError, NotDoneError, Place

T = TypeVar("T")
_BUSY = frozenset({"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"})
_MISSING = frozenset({"NoSuchEntity", "ParameterNotFound", "ParameterVersionNotFound", "ParameterVersionLabelNotFound"})


class AwsSettings(Limits):
    """Where and as whom. `credentials` refers to JSON with access_key_id, secret_access_key and maybe session_token;
    the word `sdk` means AWS's own chain (an instance role, a profile), which is then part of the environment."""  # noqa: D205, D209

    region: str
    endpoint_url: str | None = None
    credentials: SecretReference | Literal["sdk"]


class Aws:
    """Clients made at use, so that credentials are read at use; calls through `ask`, which sorts failures."""

    def __init__(self, settings: AwsSettings, place: Place, deadline: Deadline) -> None:
        self._settings = settings
        self._place = place
        self._deadline = deadline

    def client(self, service: str) -> Any:
        """A boto3 client of `service` whose every call ends before the deadline."""
        left = self._deadline.left()
        if left <= 0:
            raise NotDoneError(f"{service}: no time was left to call it")
        config = Config(
            connect_timeout=min(self._settings.connect_seconds, left),
            read_timeout=min(self._settings.read_seconds, left),
            retries={"total_max_attempts": 1},
        )
        return self._session().client(service, endpoint_url=self._settings.endpoint_url, config=config)

    def access_key_id(self) -> str | None:
        """The access key that quell itself uses."""
        credentials = self._session().get_credentials()
        return None if credentials is None else str(credentials.access_key)

    def ask(self, what: str, call: Callable[[], T]) -> T:
        """Do one call. Raises MissingError, NotDoneError or MaybeDoneError, with AWS's error code and never its text."""
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
        core = botocore.session.Session(session_vars={"config_file": (None, None, None, None)})
        return boto3.session.Session(access, secret, token, self._settings.region, botocore_session=core)

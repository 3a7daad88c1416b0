"""The wire to one bucket: credentials read at use, failures in words, and the server's clock.

Times are the server's, because the server judges retention: this machine's clock plays no part in a lock.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import create_loader

from runbooks.domain.bucket import SCHEME, BucketSettings
from tasks.stores._bucket_errors import STALE, BucketError, code_of, told

_MODELS = create_loader()
"""AWS's service descriptions, read once: a client then costs 25 ms instead of 200."""


class BucketClient:
    """A bucket and a prefix in it. For several threads. Every failure is a BucketError."""

    def __init__(
        self, location: str, settings: BucketSettings | None, secret: Callable[[str], str], patience: float = 60
    ) -> None:
        """`patience`: seconds without a byte after which an answer is given up; it is asked for three times."""
        self.name, _, prefix = location.removeprefix(SCHEME).partition("/")
        self.prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        if settings is None:
            raise BucketError(f"nothing says how {location} is reached", "add its settings: region and credentials")
        self.settings, self._secret, self._patience = settings, secret, patience
        self._client: Any = None
        self._guard = threading.Lock()
        self._clock: tuple[datetime, float] | None = None
        if not self.name:
            raise BucketError(f"{location!r} names no bucket", "write it as s3://bucket/prefix")

    def now(self) -> datetime:
        """The server's clock: its last Date, and what has passed here since."""
        if self._clock is None:
            self.call("head_bucket")
        if self._clock is None:
            raise BucketError(f"the server of the bucket {self.name} tells no time", "use a server that sends a Date")
        said, at = self._clock
        return said + timedelta(seconds=time.monotonic() - at)

    def call(self, operation: str, **arguments: Any) -> Any:
        """One request on this bucket; credentials that were replaced meanwhile are read again, once."""
        try:
            return self._call(operation, arguments)
        except ClientError as error:
            if code_of(error) not in STALE:
                raise told(self.name, operation, error) from None
        except BotoCoreError as error:
            raise told(self.name, operation, error) from None
        with self._guard:
            self._client = None
        try:
            return self._call(operation, arguments)
        except (ClientError, BotoCoreError) as error:
            raise told(self.name, operation, error) from None

    def _call(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        with self._guard:
            client = self._client = self._client or self._connect()
        if "Body" in arguments:
            arguments["Body"].seek(0)
        try:
            answer = getattr(client, operation)(Bucket=self.name, **arguments)
        except ClientError as error:
            self._hear(error.response)
            raise
        self._hear(answer)
        return answer

    def _hear(self, answer: Mapping[str, Any]) -> None:
        said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        with contextlib.suppress(TypeError, ValueError):
            when = parsedate_to_datetime(said)
            self._clock = (when if when.tzinfo else when.replace(tzinfo=UTC), time.monotonic())

    def _connect(self) -> Any:
        mine = self.settings
        config = Config(
            connect_timeout=5, read_timeout=self._patience, retries={"mode": "standard", "total_max_attempts": 3},
            max_pool_connections=16, ignore_configured_endpoint_urls=True,
            request_checksum_calculation=mine.request_checksum_calculation, response_checksum_validation="when_required",
            s3={"addressing_style": "path"} if mine.endpoint_url else {},
        )  # fmt: skip
        if mine.credentials == "sdk":
            session = boto3.session.Session(region_name=mine.region)
        else:
            try:
                keys = json.loads(self._secret(mine.credentials))
                access, hidden, token = keys["access_key_id"], keys["secret_access_key"], keys.get("session_token")
            except (ValueError, KeyError, TypeError, AttributeError):
                raise BucketError(
                    f"the credentials of the bucket {self.name} are no JSON with access_key_id and secret_access_key",
                    f"write them so at {mine.credentials}",
                ) from None
            core = botocore.session.Session(session_vars={"config_file": (None, None, None, None)})
            core.register_component("data_loader", _MODELS)
            session = boto3.session.Session(access, hidden, token, mine.region, botocore_session=core)
        try:
            return session.client("s3", endpoint_url=mine.endpoint_url, config=config)
        except ValueError:
            raise BucketError(
                f"the endpoint_url of the bucket {self.name} is no address", "write it as https://host[:port]"
            ) from None

"""One way over HTTP for all connectors: one host, no redirects, bounded time and size, failures sorted.

What the guard must know of a failed call is whether it may have arrived. Not connected, or an answer below 500 that
is no success: not done. Anything after the first byte left, and every 5xx: maybe done. Bodies never get into messages.
"""

import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated

import httpcore
import httpx
from pydantic import AfterValidator

from runbooks.domain.value import Json
from tasks.connectors._signals import Deadline, Limits, MaybeDoneError, NotDoneError
from tasks.connectors._wire import open_client


def _plain_url(url: str) -> str:
    parsed = httpx.URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("expected http://host or https://host")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise ValueError("expected a URL without user, query or fragment: secrets are references")
    return url.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_plain_url)]
"""`http(s)://host[:port][/path]`; the only host that is ever spoken to."""


class Network(Limits):
    """How the network is reached. The environment's proxies and certificates are not looked at: they are stated here."""

    proxy: BaseUrl | None = None
    ca_file: Path | None = None
    """Certificates to trust (PEM) instead of the public ones."""


@dataclass(frozen=True)
class Answer:
    """What came back, whole."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Json:
        """The body as JSON; MaybeDoneError when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise MaybeDoneError(f"answered {self.status} with a body that is no JSON") from None


class Http:
    """Calls below one base URL. A fresh connection per call: a stale one would make every failure ambiguous."""

    def __init__(self, base_url: str, limits: Network, deadline: Deadline) -> None:
        self._base = base_url
        self._limits = limits
        self._deadline = deadline
        self._client: httpx.Client | None = None

    def call(
        self,
        method: str,
        path: str,
        *,
        json_body: Json = None,
        form: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> Answer:
        """One call; any status is an answer. Raises NotDoneError or MaybeDoneError when there is none."""
        where = f"{method} {path}"
        client = self._opened()
        left = self._deadline.left()
        if left <= 0:
            raise NotDoneError(f"{where}: no time was left to send it")
        timeout = httpx.Timeout(min(self._limits.read_seconds, left), connect=min(self._limits.connect_seconds, left))
        try:
            request = client.build_request(
                method, self._base + path, json=json_body, data=form, params=query, headers=headers, timeout=timeout
            )
        except (httpx.InvalidURL, ValueError, TypeError):
            raise NotDoneError(f"{where}: the request cannot be written down: a header or a value is not fit") from None
        try:
            response = client.send(request, stream=True, auth=auth)
            try:
                body = b"".join(self._bounded(response, where))
            finally:
                response.close()
        except (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.ProxyError) as problem:
            raise NotDoneError(f"{where}: no connection ({type(problem).__name__})") from None
        except httpcore.TimeoutException:
            raise MaybeDoneError(f"{where}: sent, no answer in time") from None
        except (httpcore.NetworkError, httpcore.RemoteProtocolError, httpx.DecodingError) as problem:
            raise MaybeDoneError(f"{where}: the connection broke ({type(problem).__name__})") from None
        except httpcore.LocalProtocolError:
            raise NotDoneError(f"{where}: the request cannot be written down: a header is not fit") from None
        return Answer(response.status_code, body, response.headers)

    def _opened(self) -> httpx.Client:
        """The client, made at the first call; NotDoneError when the certificates to trust cannot be read."""
        if self._client is None:
            try:
                self._client = open_client(self._deadline, self._limits.proxy, self._limits.ca_file)
            except (OSError, ssl.SSLError):
                raise NotDoneError(f"ca_file {self._limits.ca_file}: expected readable certificates") from None
        return self._client

    def _bounded(self, response: httpx.Response, where: str) -> Iterator[bytes]:
        size = 0
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > self._limits.largest_answer_bytes:
                raise MaybeDoneError(f"{where}: the answer is longer than {self._limits.largest_answer_bytes} bytes")
            yield chunk


def demand_success(answer: Answer, what: str, good: tuple[int, ...] = (200, 201, 202, 204)) -> None:
    """Sort an answer: success passes, a refusal is not done, a 5xx or a redirect maybe done."""
    if answer.status in good:
        return
    patience = retry_after(answer)
    if answer.status == httpx.codes.TOO_MANY_REQUESTS:
        raise NotDoneError(f"{what}: answered 429, too many requests", 1.0 if patience is None else patience)
    if 400 <= answer.status < 500:
        raise NotDoneError(f"{what}: answered {answer.status}")
    raise MaybeDoneError(f"{what}: answered {answer.status}", patience)


def retry_after(answer: Answer) -> float | None:
    """Seconds that the far side asks us to wait (RFC 9110: a number or a date); None when it does not ask."""
    text = answer.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None

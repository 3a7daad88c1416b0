"""An HTTP client every byte of which respects one deadline.

A client's own read time-out starts anew with each byte, so that a far side that drips its answer can hold a response
for ever. Here every read and write of the socket gets what is left of the deadline, whatever the layers above wait for.
"""

import ssl
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import httpcore
import httpx

from tasks.connectors._signals import Deadline


def open_client(deadline: Deadline, proxy: str | None, ca_file: Path | None) -> httpx.Client:
    """A client that follows no redirects, keeps no connections, and reads nothing from the environment.

    Raises OSError or ssl.SSLError when `ca_file` holds no certificates.
    """
    trusted = public_trust() if ca_file is None else ssl.create_default_context(cafile=ca_file)
    backend = _Backend(deadline)
    pool = (
        httpcore.HTTPProxy(proxy, ssl_context=trusted, max_keepalive_connections=0, network_backend=backend)
        if proxy is not None
        else httpcore.ConnectionPool(ssl_context=trusted, max_keepalive_connections=0, network_backend=backend)
    )
    return httpx.Client(transport=_Transport(pool), trust_env=False, follow_redirects=False)


@lru_cache(maxsize=1)
def public_trust() -> ssl.SSLContext:
    """The public certificates, read once per process: 60 ms of processor, more than all else that a call costs."""
    return httpx.create_ssl_context(trust_env=False)


def warm() -> None:
    """Read them before anybody waits."""
    public_trust()


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)

    def _left(self, timeout: float | None, late: type[Exception]) -> float:
        left = self._deadline.left()
        if left <= 0:
            raise late
        return left if timeout is None else min(timeout, left)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, deadline: Deadline) -> None:
        self._inner = httpcore.SyncBackend()
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        inner = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(inner, self._deadline)


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class _Transport(httpx.BaseTransport):
    """httpcore below httpx; its exceptions come through as they are."""

    def __init__(self, pool: httpcore.ConnectionPool) -> None:
        self._pool = pool

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        where = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                where,
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer), request=request)

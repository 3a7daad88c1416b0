"""A wire that can fail: a TCP forwarder on loopback that records requests and may lose an answer or a request."""

import re
import socket
import struct
import threading
from urllib.parse import urlsplit

IDLE_SECONDS = 10.0


class Wire:
    """Forwards to one HTTP server. Each connection carries one request, as our connectors open a fresh one per call."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        assert parts.hostname
        assert parts.port
        self._upstream = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.forwarded: list[bytes] = []
        self._lose_answer: re.Pattern[bytes] | None = None
        self._lose_request: re.Pattern[bytes] | None = None
        self._hang: re.Pattern[bytes] | None = None
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def lose_answer(self, pattern: bytes) -> None:
        """The next such request arrives; its answer does not, and the connection breaks."""
        self._lose_answer = re.compile(pattern, re.DOTALL)

    def lose_request(self, pattern: bytes) -> None:
        """The next such request is taken and never arrives, and the connection breaks."""
        self._lose_request = re.compile(pattern, re.DOTALL)

    def hang(self, pattern: bytes) -> None:
        """The next such request arrives; the answer never comes and the connection stays open."""
        self._hang = re.compile(pattern, re.DOTALL)

    def arrived(self, pattern: bytes) -> int:
        """How many such requests reached the server."""
        return sum(re.search(pattern, request, re.DOTALL) is not None for request in self.forwarded)

    def close(self) -> None:
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for callers
            self._listener.close()
        for thread in self._threads:
            thread.join(IDLE_SECONDS)

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._carry, args=(near,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _carry(self, near: socket.socket) -> None:
        with near:
            near.settimeout(IDLE_SECONDS)
            try:
                request = _whole_message(near)
                if request:
                    self._answer(near, request)
            except OSError:
                return

    def _answer(self, near: socket.socket, request: bytes) -> None:
        if self._lose_request is not None and self._lose_request.search(request):
            self._lose_request = None
            _reset(near)
            return
        self.forwarded.append(request)
        with socket.create_connection(self._upstream, IDLE_SECONDS) as far:
            far.sendall(request)
            answer = _whole_message(far)
        if self._lose_answer is not None and self._lose_answer.search(request):
            self._lose_answer = None
            _reset(near)
            return
        if self._hang is not None and self._hang.search(request):
            self._hang = None
            near.recv(1)  # until the caller gives up
            return
        near.sendall(answer)


def _reset(near: socket.socket) -> None:
    """Break the connection rudely: the peer sees a reset."""
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _whole_message(connection: socket.socket) -> bytes:
    """One HTTP/1.1 message with a length, or up to the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return data
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    chunked = re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head)
    expect = re.search(rb"(?i)\r\nexpect: *100-continue", head)
    if expect and not body:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while (length and len(body) < int(length[1])) or (chunked and not body.endswith(b"0\r\n\r\n")):
        chunk = connection.recv(65536)
        if not chunk:
            break
        body += chunk
    return head + b"\r\n\r\n" + body


class Canned:
    """A server that answers what it was given, in order, and then for ever the last; keeps the requests."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self._answers: list[bytes] = []
        self._last = b""
        self._drip_seconds = 0.0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        """One more answer; `Retry_After` stands for Retry-After."""
        named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        length = "" if "Content_Length" in headers else f"Content-Length: {len(body)}\r\n"
        self._answers.append(f"HTTP/1.1 {status} Said\r\n{length}{named}Connection: close\r\n\r\n".encode() + body)

    def drip(self, seconds: float) -> None:
        """From now on answers come one byte at a time."""
        self._drip_seconds = seconds

    def close(self) -> None:
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self._thread.join(IDLE_SECONDS)

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with near:
                near.settimeout(IDLE_SECONDS)
                try:
                    self.requests.append(_whole_message(near))
                    self._last = self._answers.pop(0) if self._answers else self._last
                    self._say(near, self._last)
                except OSError:
                    continue

    def _say(self, near: socket.socket, answer: bytes) -> None:
        if not self._drip_seconds:
            near.sendall(answer)
            return
        for position in range(len(answer)):
            near.sendall(answer[position : position + 1])
            threading.Event().wait(self._drip_seconds)

"""S3 as moto plays it, in this process on a port of the system's choosing, with a wire in front that can be made to lie."""

import io
import json
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config

from runbooks.domain.bucket import BucketSettings

REGION = "us-east-1"
Application = Callable[[dict[str, Any], Any], Any]


@dataclass
class Wire:
    """What happens between client and server; nothing unless a test says so."""

    drop: set[str] = field(default_factory=set)
    """Request headers that do not arrive, as WSGI spells them."""
    refuse: tuple[str, int, str] | None = None
    """Method, status and code of a refusal."""
    lose_answers: int = 0
    """How many PUTs arrive and are answered with an error that one tries again on."""
    spoil: bool = False
    """Stored bytes are other bytes."""
    asked: list[str] = field(default_factory=list)


def _answer(start: Any, status: int, code: str) -> list[bytes]:
    start(f"{status} X", [("Content-Type", "application/xml")])
    return [f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()]


def _through(wire: Wire, server: Application) -> Application:
    def application(environ: dict[str, Any], start: Any) -> Any:
        method = environ["REQUEST_METHOD"]
        wire.asked.append(f"{method} {environ['PATH_INFO']}?{environ['QUERY_STRING']}")
        for name in wire.drop:
            environ.pop(name, None)
        if wire.refuse is not None and method == wire.refuse[0]:
            return _answer(start, *wire.refuse[1:])
        if method == "PUT" and "retention" not in environ["QUERY_STRING"] and "/objects/" in environ["PATH_INFO"]:
            if wire.spoil:
                body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
                environ["wsgi.input"] = io.BytesIO(bytes(len(body)))
            if wire.lose_answers:
                wire.lose_answers -= 1
                list(server(environ, lambda *_: None))
                return _answer(start, 503, "ServiceUnavailable")
        return server(environ, start)

    return application


class S3:
    """A running server; every test makes buckets of its own."""

    def __init__(self, url: str, key: str = "practice", hidden: str = "practice", *, wire: Wire | None = None) -> None:
        self.url = url
        self.wire = wire or Wire()
        self._keys = (key, hidden)
        self.client: Any = boto3.client(
            "s3", endpoint_url=url, region_name=REGION, aws_access_key_id=key, aws_secret_access_key=hidden,
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )  # fmt: skip

    def new_bucket(self, *, locked: bool = True) -> str:
        """The location of a prefix in an empty bucket."""
        name = f"quell-{secrets.token_hex(6)}"
        self.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked)
        return f"s3://{name}/evidence"

    def settings(self, **other: Any) -> BucketSettings:
        return BucketSettings.model_validate(
            {"region": REGION, "credentials": "env:PRACTICE", "endpoint_url": self.url, **other}
        )

    def secret(self, reference: str) -> str:
        assert reference == "env:PRACTICE"
        return json.dumps({"access_key_id": self._keys[0], "secret_access_key": self._keys[1]})


@contextmanager
def running_moto() -> Iterator[S3]:
    """A fresh server in this process."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = DomainDispatcherApplication(create_backend_app)
    wire = Wire()
    server = make_server("127.0.0.1", 0, _through(wire, moto), threaded=True)
    running = S3(f"http://127.0.0.1:{server.port}", wire=wire)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.client.close()
        server.shutdown()
        server.server_close()
        thread.join(10)

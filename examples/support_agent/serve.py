"""Runs one service of the world in this process, on a socket that the supervisor opened.

Standard input is a pipe from the supervisor. When it closes, the supervisor is gone, by whatever death, and so are we.
"""

from __future__ import annotations

import importlib
import os
import socket
import threading

import uvicorn
from starlette.applications import Starlette

from examples.support_agent.layout import ServeSettings

MODULES = {"authorization": "authorization_server", "tools": "tool_server", "agent": "agent_server"}
STDIN = 0


def end_with_parent() -> None:
    """End this process at once when standard input reaches its end."""

    def watch() -> None:
        while os.read(STDIN, 1024):
            pass
        os._exit(0)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


def serve(role: str, settings: ServeSettings, descriptor: int) -> None:
    """Serve ``role`` on the listening socket ``descriptor`` until told to stop."""
    end_with_parent()
    if role == "aws":
        _serve_aws(descriptor)
        return
    module = importlib.import_module(f"examples.support_agent.{MODULES[role]}")
    application: Starlette = module.build(settings)
    configuration = uvicorn.Config(
        application, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=3
    )
    uvicorn.Server(configuration).run(sockets=[socket.socket(fileno=descriptor)])


def _serve_aws(descriptor: int) -> None:
    """AWS as moto plays it: SSM parameters (the prompt registry) and IAM, in memory."""
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - heavy
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server  # noqa: PLC0415 - heavy

    port = socket.socket(fileno=os.dup(descriptor)).getsockname()[1]
    os.environ["MOTO_PORT"] = str(port)
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server(
        "127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler, fd=descriptor
    )
    server.serve_forever()

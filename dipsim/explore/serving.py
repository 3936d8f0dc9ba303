"""Who serves the page: a server on this machine's loopback, for nobody else."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from nicegui import ui
from starlette.middleware.trustedhost import TrustedHostMiddleware

from dipsim.errors import DipsimError
from dipsim.explore.page import Page
from dipsim.explore.recorded import read_recorded
from dipsim.explore.work import Work

HOST = "127.0.0.1"
PORT = 8317  # unless it is taken


def serve(results: Path | None, port: int | None, has_browser: bool, on_start: Callable[[str], None]) -> None:
    """Serves the page until it is interrupted.

    Args:
        results: of a sweep, whose runs can be chosen; None for none.
        port: where; None for the usual one, or any where that is taken.
        has_browser: whether to open the page.
        on_start: is told its address.

    Raises:
        DipsimError: the port is taken, or the results cannot be read.
    """
    work = Work([] if results is None else read_recorded(results))
    listening = _listen(port)
    address = f"http://{HOST}:{listening.getsockname()[1]}/"

    @ui.page("/")
    def page(request: Request) -> None:
        Page(work, request.query_params.multi_items())

    server = uvicorn.Server(uvicorn.Config(_app(), log_level="critical", timeout_graceful_shutdown=1))
    on_start(address)
    if has_browser:
        webbrowser.open(address)
    try:
        server.run([listening])
    except KeyboardInterrupt:  # what uvicorn hands on when it has ended
        pass
    finally:
        work.end()


def _app() -> FastAPI:
    """The server's own application; other names for this machine, as a stranger's page could make up, are refused."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    ui.run_with(app, title="dipsim explore", tailwind=False, binding_refresh_interval=None, show_welcome_message=False)
    return app


def _listen(port: int | None) -> socket.socket:
    """A socket that listens, on this machine alone.

    Raises:
        DipsimError: the port is taken, or none.
    """
    if port is not None and not 0 <= port < 2**16:
        raise DipsimError(f"port: got {port}; must be from 0 (any) to 65535")
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, PORT if port is None else port))
    except OSError as error:
        if port is not None:
            listening.close()
            raise DipsimError(f"port: got {port}; {error.strerror}: give another, or none for any") from None
        listening.bind((HOST, 0))
    listening.listen()
    return listening

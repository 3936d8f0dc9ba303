"""`dipsim explore`: a live page in the browser."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from dipsim.errors import DipsimError
from dipsim.installation import how_to_add


def explore(
    results: Annotated[
        Path | None, typer.Argument(help="What 'dipsim sweep' made: its runs can be chosen on the page.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Of the page; 8317 by default, or any if that is taken.")] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """A live page in the browser: device, model, method, cache under sliders, and what they give, at once.

    The page is served to this machine alone and needs no network. Ctrl-C ends it.

    Example: dipsim explore
    """
    if importlib.util.find_spec("nicegui") is None:
        raise DipsimError(f"explore: nicegui is not installed; {how_to_add('explore')}")
    from dipsim.cli.terminal import say
    from dipsim.explore import serve

    serve(results, port, browser, lambda address: say(f"the page is at {address}; Ctrl-C ends it"))
    say("ended")

"""Imports matplotlib whatever its settings say: figures are written to files, in dipsim's own style, so that neither a
back end for windows or notebooks (`MPLBACKEND`) nor a file of settings (`matplotlibrc`) matters, or need be right."""

from __future__ import annotations

import os
import sys
from importlib import import_module

_NEUTRAL = {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}


def import_matplotlib() -> None:
    """As the user's settings have it, for the sake of the user's own figures; without them where they are broken."""
    try:
        import_module("matplotlib")
        return
    except (ValueError, OSError):  # an unknown back end, letters that are no UTF-8, a file that cannot be read
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[name]  # the parts that the broken import has left
    outside = {name: os.environ[name] for name in _NEUTRAL if name in os.environ}
    os.environ.update(_NEUTRAL)
    try:
        import_module("matplotlib")
    finally:
        for name in _NEUTRAL:
            del os.environ[name]
        os.environ.update(outside)

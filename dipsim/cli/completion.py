"""What can a shell complete: the names of whatever is chosen by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module

# Option or argument -> module and what in it has the names.
_PLACES = {
    "method": ("dipsim.methods", "methods"),
    "policy": ("dipsim.policies", "policies"),
    "budget": ("dipsim.budgets", "budgets"),
    "layout": ("dipsim.layouts", "layouts"),
    "prefetch": ("dipsim.prefetchers", "prefetchers"),
    "loads": ("dipsim.loads", "loads"),
    "figure": ("dipsim.plots", "KINDS"),
}


def completing(name: str) -> Callable[[str], list[str]] | None:
    """What completes the beginning of a value of that option; None where nothing does.

    Args:
        name: of an option of a run, or `trace`, `model`, `figure`.
    """
    if name in ("profile", "trace"):
        folder, ending = ("hwprofiles", ".toml") if name == "profile" else ("traces", ".zarr.zip")
        return lambda incomplete: _beginning(incomplete, _shipped(folder, ending))
    if name == "model":
        return lambda incomplete: _beginning(incomplete, _presets())
    if name not in _PLACES:
        return None
    module, attribute = _PLACES[name]
    return lambda incomplete: _beginning(incomplete, getattr(import_module(module), attribute))


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _shipped(folder: str, ending: str) -> Iterable[str]:
    from dipsim import shipped

    return shipped.names(folder, ending)


def _presets() -> Iterable[str]:
    from dipsim.model import ModelSpec

    return ModelSpec.presets()

"""Where the files that ship with dipsim lie: profiles, traces, guides and the model `tiny`."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The folder of that name (`hwprofiles`, `tiny` ...): in the installed package, else beside it in a checkout."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def names(kind: str, suffix: str) -> dict[str, Path]:
    """Name -> path of every shipped file of a kind, sorted by name."""
    found = {path.name.removesuffix(suffix): path for path in folder(kind).glob(f"*{suffix}")}
    return dict(sorted(found.items()))

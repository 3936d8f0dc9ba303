"""Is the training that is gone on with the one that was begun?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dipsim.errors import DipsimError


def check_same(settings: dict[str, Any], before: dict[str, Any], hint: str = "") -> None:
    """Refuses to go on with another run than the one that was begun.

    Args:
        settings, before: now, and then.
        hint: what else can be done.

    Raises:
        DipsimError: some differ; it names them.
    """
    now, then = dict(_flat(settings)), dict(_flat(before))
    if changed := [name for name in {**now, **then} if now.get(name) != then.get(name)]:
        told = "; ".join(f"{name} is {now.get(name)}, was {then.get(name)}" for name in changed)
        raise DipsimError(f"resume: got other settings than before: {told}{hint}")


def _flat(settings: dict[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by its path, as `masking.density`."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{where}{name}.")
        else:
            yield where + name, value

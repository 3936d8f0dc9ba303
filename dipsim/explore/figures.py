"""Which figures does the page show, each as SVG with its data as CSV."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from dipsim import plots
from dipsim.explore.answers import DEFAULT, Answer

Shown = Mapping[str, Answer]  # by what each is called: the set-up, and the pinned one


@dataclass(frozen=True)
class Figure:
    """A figure in a browser.

    Attributes:
        svg: its drawing.
        csv: what it shows.
    """

    svg: bytes
    csv: bytes

    @property
    def encoded(self) -> str:
        """The drawing, as an address of data has it."""
        return b64encode(self.svg).decode()


def breakdown(shown: Shown) -> plots.Plot:
    """Where the time of a token goes, in each run."""
    rows = [
        {"run": f"{of}{run}"} | _below("critical_path_s_per_token", result.to_dict())
        for of, answer in _named(shown)
        for run, result in answer.estimate.results.items()
        if not of or run == DEFAULT
    ]
    frame = pd.DataFrame(rows).rename(columns={"run": "scores"})
    return plots.time_breakdown(frame, "scores" if len(frame) > 1 else None)


def memory(shown: Shown) -> plots.Plot:
    """What lies in DRAM and in Flash."""
    rows = [
        {"run": name, "device": device, "part": part, "n_bytes": n_bytes}
        for name, answer in shown.items()
        for device, parts in _places(answer).items()
        for part, n_bytes in parts.items()
    ]
    return plots.memory_map(pd.DataFrame(rows))


def timeline(shown: Shown) -> plots.Plot:
    """What the devices do in some layers of a token."""
    found = [(name, answer.spans) for name, answer in shown.items() if answer.spans is not None]
    table = pd.concat([spans.table.assign(run=name) for name, spans in found], ignore_index=True)
    return plots.token_timeline(table, found[0][1].title)


FIGURES: dict[str, tuple[str, Callable[[Shown], plots.Plot]]] = {
    "breakdown": ("Where the time of a token goes", breakdown),
    "memory": ("What lies where", memory),
    "timeline": ("What the devices do", timeline),
}


def drawn(name: str, shown: Shown) -> Figure:
    """One of `FIGURES`."""
    with TemporaryDirectory(prefix="dipsim-") as folder:
        path = Path(folder) / f"{name}.svg"
        FIGURES[name][1](shown).save(path)
        return Figure(path.read_bytes(), path.with_suffix(".csv").read_bytes())


def _named(shown: Shown) -> list[tuple[str, Answer]]:
    """The set-up's runs go by their own names, the pinned one's by its as well."""
    return [("" if place == 0 else f"{name}: ", answer) for place, (name, answer) in enumerate(shown.items())]


def _below(name: str, numbers: dict[str, Any]) -> dict[str, float]:
    return {f"{name}.{part}": value for part, value in numbers[name].items()}


def _places(answer: Answer) -> dict[str, dict[str, float]]:
    """Bytes of each part in DRAM and in Flash; what has no room in DRAM is in Flash alone."""
    plan, device, model = answer.default["dram"], answer.device.dram, answer.estimate.model
    cached = min(plan["cache_bytes"], model.mlp_bytes)
    in_dram = {
        "system and other apps": device.reserved_bytes,
        "attention, LM head": plan["pinned_bytes"] - plan["streamed_pinned_bytes"],
        "KV": plan["kv_bytes"],
        "prefetch": plan["prefetch_bytes"],
        "MLP": cached,
    }
    in_flash = {"attention, LM head": plan["streamed_pinned_bytes"], "MLP": model.mlp_bytes - cached}
    free = device.capacity_bytes - sum(in_dram.values())
    return {"DRAM": in_dram | {"free": max(free, 0)}, "Flash": in_flash}

"""Which commands are there: each by topic, in a line, and loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, cast

import typer

from dipsim.cli.help_pages import Command, Group
from dipsim.cli.plugin import take_plugins

# Topic -> command -> the module in `dipsim.cli` that has it, and what it is for in at most 59 letters.
TOPICS: dict[str, dict[str, tuple[str, str]]] = {
    "Begin here": {
        "demo": ("demo", "A model of 3 billion weights on three devices, in figures."),
        "estimate": ("estimate", "How fast will a model be on a device? Without a trace."),
        "explore": ("explore", "The same on a live page in the browser, with sliders."),
        "list": ("catalogue", "What there is: devices, models, methods, policies ..."),
        "show": ("show", "One of them in full: options, source, an example."),
    },
    "One run, and why": {
        "simulate": ("simulate", "Replay a trace on a device: tokens/s, hit rate, time."),
        "explain": ("explain", "Why was a token slow, and what would have helped?"),
        "headroom": ("headroom", "What better caches and better hardware would still give."),
        "compare": ("compare", "Two results: what differs in set-up and outcome."),
    },
    "Many runs": {
        "sweep": ("sweep", "All that a spec describes, on all cores or a cluster."),
        "tune": ("tune", "The fastest run that loses no more than you allow."),
        "table": ("table", "Results as text, Markdown, LaTeX or CSV."),
        "plot": ("plot", "Results as a figure for a paper."),
        "report": ("report", "Results as one HTML page to explore."),
    },
    "Traces and devices": {
        "synth": ("synth", "A trace of any model, with realistic random scores."),
        "import": ("import_routes", "A trace of the experts that another engine recorded."),
        "stats": ("stats", "What a trace's scores are like."),
        "calibrate": ("calibrate", "A profile of measured numbers, of any machine."),
    },
    "Real models": {
        "capture": ("capture", "A trace of a model's scores on a text."),
        "evaluate": ("evaluate", "Perplexity under a method, and the speed of that run."),
        "drift": ("drift", "How far a replay is from the model itself."),
        "allocate": ("allocate", "Fit how dip splits a density over matrices and layers."),
        "train-predictor": ("train_predictor", "Networks that foresee which neurons a token needs."),
        "adapt": ("adapt", "LoRA that learns under the masks of a method."),
    },
}


class Index(Group):
    """The commands of dipsim; none is loaded before it is asked for, since each needs libraries."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = cast(dict[str, Any], _Commands())

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the topics."""
        return [*self.commands]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """What each is for, in a line."""
        width = max(map(len, self.commands))
        for topic, commands in TOPICS.items():
            with formatter.section(topic):
                formatter.write_dl([(name.ljust(width), what) for name, (_, what) in commands.items()])


class _Commands(Mapping[str, Any]):
    """Name -> command, made when it is first asked for."""

    def __getitem__(self, name: str) -> Any:
        return _command(name)

    def __contains__(self, name: object) -> bool:
        return name in {*self}

    def __iter__(self) -> Iterator[str]:
        return (name for own in TOPICS.values() for name in own)

    def __len__(self) -> int:
        return sum(map(len, TOPICS.values()))


@cache
def _command(name: str) -> Any:
    """What a function, or an application of several, is made into."""
    modules = {known: module for own in TOPICS.values() for known, (module, _) in own.items()}
    place = import_module(f"dipsim.cli.{modules[name]}")
    app = getattr(place, f"{name}_app", None)
    if app is None:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(getattr(place, name.replace("-", "_")))
    for command in app.registered_commands:
        command.cls = Command
    take_plugins(app)
    made = typer.main.get_command(app)
    made.name = name
    return made

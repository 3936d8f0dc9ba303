"""Which runs are the points of a spec: each with what a worker needs, and a key of all that its result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dipsim import shipped
from dipsim.archives import content_sha256, contents_sha256
from dipsim.description import SPELLINGS, Description
from dipsim.errors import DipsimError
from dipsim.model.gguf_files import is_gguf, parts_of
from dipsim.model.groups import SITES
from dipsim.profile import HardwareProfile
from dipsim.simulation import Simulation
from dipsim.simulation.described import device_of, fitting
from dipsim.sweeps.grid import Point
from dipsim.sweeps.plugged import codes_of
from dipsim.sweeps.spec import HEADROOM, Spec, Text, describe
from dipsim.trace import Trace, local_copy
from dipsim.version import __version__

OnProgress = Callable[[int, int], None]
_USE_COUNTS = ("policy_option.path", "policy_options.path")
_PATHS = (
    *("trace", "profile", "model", "keeps", "calibration", *_USE_COUNTS),
    *("evaluate.model", "evaluate.text", "evaluate.predictor"),
)
_HASHED = ("model", "text", "predictor")  # of an evaluation


@dataclass(frozen=True)
class Run:
    """One run of a sweep: plain data, small enough to be sent anywhere.

    Attributes:
        key: hash of everything that the result depends on: configuration, contents of files, dipsim's version.
        point: its values of the axes, as the spec has them.
        config: what `Simulation.from_config` takes; empty where no such run can be made.
        trace: path or URL; None where a model runs on a text.
        sha256: hash of the content of the trace, or of model, text and predictor.
        text: which model runs on which text.
        headroom: whether that is measured too.
        error: why it cannot be made; None where it can.
    """

    key: str
    point: Point
    config: dict[str, Any]
    trace: str | None = None
    sha256: str | None = None
    text: Text | None = None
    headroom: bool = False
    error: str | None = None


def runs_of(spec: Spec, on_progress: OnProgress = lambda done, total: None) -> list[Run]:
    """The runs of a spec, in its order; points that describe the same run make one. Where methods vary, options that
    one of them lacks are left out of its points.

    Args:
        spec: the spec.
        on_progress: called with the points done and the points to do.

    Raises:
        DipsimError: a trace, a text or a model that cannot be opened, a device that cannot be made, or no point
            describes a run that can.
    """
    opened = Opened(spec)
    runs: dict[str, Run] = {}
    for i, point in enumerate(spec.points):
        run = opened.run(point)
        runs.setdefault(run.key, run)
        on_progress(i + 1, len(spec.points))
    if (refused := [run.error for run in runs.values() if run.error]) and len(refused) == len(runs):
        raise DipsimError(f"{spec.name}: no run can be made: {refused[0]}")
    return list(runs.values())


class Opened:
    """Points as runs; what they share is opened once for a sweep, and anew for the next one."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._varies_method = "method" in spec.axes
        self._trace = cache(Trace.open)
        self._sha256_of_trace = cache(_sha256_of_trace)
        self._sha256_of_file = cache(_sha256_of_file)
        self._planned = cache(_planned)
        self._placed = cache(_placed)
        self._parts: dict[str, dict[str, Any]] = {}
        self._devices: dict[str, HardwareProfile] = {}

    def run(self, point: Point) -> Run:
        """The run of a point."""
        spec, headroom = self._spec, point.get(HEADROOM, False)
        point = {name: value for name, value in point.items() if name != HEADROOM}
        placed = {name: self._placed(value, spec.folder) if name in _PATHS else value for name, value in point.items()}
        description, text = describe(placed, spec.name)
        if self._varies_method:
            described, description = description, fitting(description)
            point = _without_unfit(point, described, description)
        if text is None:
            trace, sha256 = self._trace(placed["trace"]), self._sha256_of_trace(placed["trace"])
        else:
            trace, rank = self._planned(text)
            description = description.model_copy(update={"rank": rank})
            named = [getattr(text, name) for name in _HASHED]
            sha256 = _hash([name and self._sha256_of_file(name) for name in named])
        # Files count by what they hold, wherever they lie.
        content: list[object] = [__version__, headroom, sha256, text and text.model_dump(exclude=set(_HASHED))]
        about: Any = {"trace": placed.get("trace"), "text": text, "sha256": sha256, "headroom": headroom}
        try:
            config = Simulation.from_description(description, trace, self._device(description)).config
        except DipsimError as error:
            return Run(_hash([*content, point]), point, {}, error=str(error), **about)
        if text is not None:
            config["tokens"] = None  # all that the text has
        del config["trace"]
        config |= {name: self._once(config[name]) for name in ("profile", "model")}
        return Run(_hash([*content, self._with_content(config), codes_of(config)]), point, config, **about)

    def _once(self, part: dict[str, Any]) -> dict[str, Any]:
        """What runs have in common is in memory once: it is three quarters of a configuration."""
        return self._parts.setdefault(_hash([part]), part)

    def _with_content(self, config: dict[str, Any]) -> dict[str, Any]:
        """The configuration with the content of the one file that it names in place of its path."""
        options = config["policy_options"]
        path = options.get("path") if config["policy"] == "static" else None
        return config | {"policy_options": options | {"path": path and self._sha256_of_file(path)}} if path else config

    def _device(self, description: Description) -> HardwareProfile:
        name = repr((description.profile, description.profile_values))
        if name not in self._devices:
            self._devices[name] = device_of(description)
        return self._devices[name]


def _without_unfit(point: Point, described: Description, fitted: Description) -> Point:
    """What is left of a point where a method lacks some of the options."""
    unfit = {name for name in type(fitted).model_fields if getattr(described, name) != getattr(fitted, name)}
    return {spelling: value for spelling, value in point.items() if SPELLINGS.get(spelling) not in unfit}


def _placed(name: str, folder: Path) -> str:
    """A name of something that ships, a URL or a hub id as it is; a path from the spec's folder."""
    path = folder / name
    is_shipped = name in shipped.names("traces", ".zarr.zip") or name in shipped.names("hwprofiles", ".toml")
    return str(path) if not is_shipped and name not in ("tiny", "held-out") and path.exists() else name


def _sha256_of_trace(name: str) -> str:
    return content_sha256(shipped.names("traces", ".zarr.zip").get(name) or local_copy(name))


def _sha256_of_file(name: str) -> str:
    """Of a model, a text or a predictor; what has no content here, on the hub or shipped, is known by its name."""
    if not (path := Path(name)).exists():
        return name
    return contents_sha256(parts_of(path) if is_gguf(path) and path.is_file() else [path])


def _planned(text: Text) -> tuple[Trace, int | None]:
    """One window of the text as a trace to come, and the predictor's rank."""
    from dipsim.sparsify.loading import read_spec, read_text
    from dipsim.sparsify.predictors import TrainedPredictors

    read_text(text.text)
    ids = np.zeros((1, max(1, text.window_tokens - text.prompt_tokens)), np.int64)
    rank = None if text.predictor is None else TrainedPredictors.load(Path(text.predictor)).rank
    return Trace.planned(read_spec(text.model), SITES, ids, text.prompt_tokens), rank


def _hash(content: list[object]) -> str:
    plain = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()[:32]

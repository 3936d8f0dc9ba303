"""What does a worker do: one run, from plain data to plain data."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dipsim.errors import DipsimError, DipsimWarning
from dipsim.simulation import Simulation
from dipsim.sweeps.plugged import register
from dipsim.sweeps.row import Row, row_of
from dipsim.sweeps.runs import Run
from dipsim.sweeps.spec import Text
from dipsim.threads import limited
from dipsim.trace import Trace
from dipsim.version import __version__

if TYPE_CHECKING:
    from dipsim.sparsify.loading import LoadedModel


def carry_out(
    run: Run,
    dipsim_version: str = __version__,
    plugins: bytes = b"",
    *,
    n_threads: int = 1,
) -> Row:
    """The row of a run; of one that fails, its inputs and the error.

    Args:
        run: the run.
        dipsim_version: what the sweep runs, and so must its workers.
        plugins: what was registered where the sweep was started, as `packed`.
        n_threads: how many it may use.
    """
    told: Row = {"key": run.key, "error": run.error}
    try:
        if (own := __version__) != dipsim_version:
            raise DipsimError(f"worker: runs dipsim {own}, the sweep {dipsim_version}; install the same")
        register(plugins)
        row = run.point if run.error else _outcome(run, n_threads)
    except Exception as error:  # one run must not end the others
        text = " ".join(str(error).split())
        told["error"], row = text if isinstance(error, DipsimError) else f"{type(error).__name__}: {text}", run.point
    provenance = {"trace_sha256": run.sha256, "dipsim_version": dipsim_version}
    return told | {**run.point, **row, **_as_written(run.point)} | provenance


def _as_written(point: dict[str, Any]) -> Row:
    """What a spec names by place, as the spec has it; DRAM, which may be text, as text."""
    named = {name: point[name] for name in ("trace", "dram") if name in point}
    return {name: value if isinstance(value, str) else f"{value:.15g}B" for name, value in named.items()}


def _outcome(run: Run, n_threads: int) -> Row:
    with limited(n_threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", DipsimWarning)  # told once, before the sweep; a row has no room for them
        if run.text is not None:
            return _evaluated(run, run.text)
        simulation = Simulation.from_config(run.config | {"trace": run.trace}, _trace(str(run.trace), run.sha256))
        result = simulation.run()
        return row_of(simulation.config, result, {}, result.headroom() if run.headroom else None)


def _evaluated(run: Run, text: Text) -> Row:
    from dipsim.evaluation import evaluate
    from dipsim.sparsify.loading import share_cores

    share_cores()
    loaded, ids, predictors = _ready(text, run.sha256)
    found = evaluate(
        loaded,
        ids,
        lambda trace: Simulation.from_config(run.config | {"trace": str(trace.path)}, trace),
        n_prompt=text.prompt_tokens,
        stride=text.stride,
        n_batch=text.batch,
        predictors=predictors,
    )
    result = found.result
    config = {key: value for key, value in result.config.items() if key != "trace"}
    return row_of(config, result, found.quality(), result.headroom() if run.headroom else None)


def first_window(run: Run, text: Text) -> tuple[Run, int]:
    """A run on the first window of its text, and how many windows there are."""
    from dipsim.sparsify.bos import begin_with_bos

    loaded, ids, _ = _ready(text, run.sha256)
    n_tokens = text.window_tokens - begin_with_bos(loaded.tokenizer, ids)
    one = text.model_copy(update={"tokens": n_tokens})
    return replace(run, text=one), len(ids)


@lru_cache(maxsize=4)
def _trace(path: str, sha256: str | None) -> Trace:
    """Opened once; `sha256` tells whether it is still the same."""
    return Trace.open(path)


@lru_cache(maxsize=1)
def _model(name: str, device: str, dtype: str, sha256: str | None) -> LoadedModel:
    """Loaded once; `sha256` tells whether it is still the same."""
    from dipsim.sparsify.loading import load_model

    return load_model(name, device, dtype)


@lru_cache(maxsize=2)
def _ready(text: Text, sha256: str | None) -> tuple[LoadedModel, NDArray[np.int64], Any]:
    """Model, windows and predictors of a text."""
    from dipsim.sparsify.loading import read_text, windows
    from dipsim.sparsify.predictors import TrainedPredictors

    loaded = _model(text.model, text.device, text.dtype, sha256)
    content = read_text(text.text)
    ids = windows(loaded.tokenizer, content, text.window_tokens, n_tokens=text.tokens, stride=text.stride, bos=text.bos)
    if text.predictor is None:
        return loaded, ids, ()
    return loaded, ids, TrainedPredictors.load(Path(text.predictor)).fitting(loaded)

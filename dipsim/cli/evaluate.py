"""`dipsim evaluate`: perplexity with the mask in the loop, beside the speed of the same tokens."""

import contextlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dipsim.cli import options
from dipsim.cli.described import takes_simulation
from dipsim.cli.help_pages import OUTPUT
from dipsim.errors import DipsimError
from dipsim.installation import how_to_add

if TYPE_CHECKING:
    from dipsim.model import ModelSpec
    from dipsim.simulation import Simulation
    from dipsim.sparsify.loading import LoadedModel
    from dipsim.trace import Trace


@takes_simulation("trace", "tokens", "rank")
def evaluate(
    model_path: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A folder, hub id or .gguf of a causal LM with gated MLPs, or 'tiny'."),
    ],
    text: Annotated[str, typer.Argument(help="A UTF-8 text file, or 'held-out' for the text tiny never saw.")],
    describe: "Callable[..., Simulation]",
    tokens: options.TextTokens = None,
    window_tokens: options.WindowTokens = 256,
    prompt_tokens: options.PromptTokens = 0,
    stride: Annotated[
        int | None,
        typer.Option(
            help="Start a window every so many tokens and score its last ones, instead of right behind the last.",
            rich_help_panel=options.TEXT,
        ),
    ] = None,
    bos: options.Bos = "auto",
    predictor: options.PredictorFile = None,
    batch: options.Batch = 1,
    device: options.Device = "cpu",
    dtype: options.Dtype = "auto",
    save_trace: Annotated[
        Path | None,
        typer.Option(
            metavar="TRACE",
            help="Keep the scores: simulating them under the same options gives these masks again.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="A folder of 'dipsim adapt'; its bytes are counted instead of --adapter-bytes.",
            rich_help_panel=options.TORCH,
        ),
    ] = None,
    merge_adapter: Annotated[
        bool,
        typer.Option(
            "--merge-adapter",
            help="Add the adapter to the weights; it then costs no bytes.",
            rich_help_panel=options.TORCH,
        ),
    ] = False,
    json: options.Json = None,
    losses: Annotated[
        Path | None,
        typer.Option(
            help="Write the loss of each scored token (.csv or .parquet): window, position, token_id, loss.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    compact: options.Compact = False,
    force: options.Force = False,
) -> None:
    """Perplexity of a real model under a method, cache state and all, and tokens per second of the same run.

    Example: dipsim evaluate tiny held-out --method dip-ca --density 0.5 --policy lfu --dram 0.6x --tokens 4096
    """
    require_torch("evaluate", "torch", "transformers", *(["peft"] if adapter else []))
    if merge_adapter and adapter is None:
        raise DipsimError("merge-adapter: there is none; give --adapter DIR")
    if compact and save_trace is None:
        raise DipsimError("compact: no scores are kept; give --save-trace FILE")
    from dipsim import evaluation
    from dipsim.cli.terminal import progress, table
    from dipsim.evaluation.losses import check_losses_output, write_losses
    from dipsim.files import check_output, write_text
    from dipsim.results.headline import headline
    from dipsim.sparsify.capture import text_source
    from dipsim.sparsify.loading import load_model, read_spec, read_text, windows
    from dipsim.sparsify.predictors import TrainedPredictors
    from dipsim.trace import check_trace_output

    if json is not None:
        check_output(json, force)
    if losses is not None:
        check_losses_output(losses, force)
        if losses == json:
            raise DipsimError(f"output: '{losses}' is named twice")
    if save_trace is not None:
        check_trace_output(save_trace, force)
    trained = None if predictor is None else TrainedPredictors.load(predictor)
    content = read_text(text)

    def described(trace: "Trace", **others: Any) -> "Simulation":
        return describe(trace=trace, rank=None if trained is None else trained.rank, **others)

    described(_planned(read_spec(model_path), window_tokens, prompt_tokens))  # refuses before weights are loaded
    with progress(f"loading {model_path}") as on_progress:
        loaded = load_model(model_path, device, dtype, on_progress)
    ids = windows(loaded.tokenizer, content, window_tokens, n_tokens=tokens, stride=stride, bos=bos)
    with _with_adapter(loaded, adapter, merge_adapter) as ready, progress("evaluating", "windows") as on_progress:
        own = {"adapter_bytes": f"{ready.adapter_bytes}B"} if adapter else {}
        found = evaluation.evaluate(
            ready,
            ids,
            lambda trace: described(trace, **own),
            n_prompt=prompt_tokens,
            stride=stride,
            n_batch=batch,
            predictors=() if trained is None else trained.fitting(loaded),
            save_trace=save_trace,
            text_source=text_source(text, content),
            force=force,
            compact=compact,
            on_progress=on_progress,
        )
    rows = {"perplexity": found.perplexity_line} | headline(found.result.to_dict())
    table(["", ""], [list(row) for row in rows.items()], title=found.title, left=2)
    if json is not None:
        write_text(json, found.to_json())
    if losses is not None:
        write_losses(losses, found.losses)


def _planned(spec: "ModelSpec", window_tokens: int, prompt_tokens: int) -> "Trace":
    """One window of a text."""
    import numpy as np

    from dipsim.model.groups import SITES
    from dipsim.trace import Trace

    return Trace.planned(spec, SITES, np.zeros((1, max(1, window_tokens - prompt_tokens)), np.int64), prompt_tokens)


def _with_adapter(
    loaded: "LoadedModel", adapter: Path | None, merge: bool
) -> "contextlib.AbstractContextManager[LoadedModel]":
    if adapter is None:
        return contextlib.nullcontext(loaded)
    from dipsim.sparsify.adapters import adapted

    return adapted(loaded, adapter, merge)


def require_torch(command: str, *libraries: str) -> None:
    """Refuses a command that needs the extra `capture` where that is not installed.

    Args:
        command: the command.
        libraries: what it needs; torch and transformers by default.

    Raises:
        DipsimError: a library is missing.
    """
    needed = libraries or ("torch", "transformers")
    if any(importlib.util.find_spec(library) is None for library in needed):
        names = f"{', '.join(needed[:-1])} and {needed[-1]}"
        raise DipsimError(f"{command}: {names} are not installed; {how_to_add('capture')}")

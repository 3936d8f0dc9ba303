"""`dipsim evaluate`: perplexity with the mask in the loop, beside the speed of the same tokens."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dipsim.cli import options
from dipsim.cli.described import takes_simulation
from dipsim.errors import DipsimError

if TYPE_CHECKING:
    from dipsim.model import ModelSpec
    from dipsim.simulation import Simulation
    from dipsim.trace import Trace

TEXT = "Text"


@takes_simulation("trace", "tokens", "rank")
def evaluate(
    model_path: Annotated[
        str, typer.Argument(metavar="MODEL", help="A folder or hub id of a causal LM with gated MLPs, or 'tiny'.")
    ],
    text: Annotated[str, typer.Argument(help="A UTF-8 text file, or 'held-out' for the text tiny never saw.")],
    describe: "Callable[..., Simulation]",
    window_tokens: Annotated[
        int, typer.Option(help="Tokens of a window; each is a sequence with cold caches.", rich_help_panel=TEXT)
    ] = 256,
    prompt_tokens: Annotated[
        int, typer.Option(help="First tokens of each window that are run dense and not scored.", rich_help_panel=TEXT)
    ] = 0,
    windows: Annotated[
        int | None, typer.Option(help="How many windows; all that the text has by default.", rich_help_panel=TEXT)
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            help="Start a window every so many tokens and score its last ones, instead of right behind the last.",
            rich_help_panel=TEXT,
        ),
    ] = None,
    predictor: options.PredictorFile = None,
    batch: options.Batch = 1,
    device: options.Device = "cpu",
    dtype: options.Dtype = "auto",
    save_trace: Annotated[
        Path | None,
        typer.Option(help="Keep the scores: simulating them under the same options gives these masks again."),
    ] = None,
    json: options.Json = None,
    force: options.Force = False,
) -> None:
    """Perplexity of a real model under a method, cache state and all, and tokens per second of the same run.

    Example: dipsim evaluate tiny held-out --method dip-ca --density 0.5 --policy lfu --dram 0.6x --windows 16
    """
    require_torch("evaluate")
    from dipsim.cli.terminal import progress, table
    from dipsim.evaluation import evaluate as run
    from dipsim.files import check_output, write_text
    from dipsim.results.headline import headline
    from dipsim.sparsify.capture import text_source
    from dipsim.sparsify.loading import load_model, read_spec, read_text
    from dipsim.sparsify.loading import windows as cut
    from dipsim.sparsify.predictors import TrainedPredictors
    from dipsim.trace import check_trace_output

    if json is not None:
        check_output(json, force)
    if save_trace is not None:
        check_trace_output(save_trace, force)
    trained = None if predictor is None else TrainedPredictors.load(predictor)
    content = read_text(text)

    def described(trace: "Trace") -> "Simulation":
        return describe(trace=trace, rank=None if trained is None else trained.rank)

    described(_planned(read_spec(model_path), window_tokens, prompt_tokens))  # refuses before weights are loaded
    with progress(f"loading {model_path}"):
        loaded = load_model(model_path, device, dtype)
    ids = cut(loaded.tokenizer, content, window_tokens, windows, stride)
    with progress("evaluating windows") as on_progress:
        found = run(
            loaded,
            ids,
            described,
            n_prompt=prompt_tokens,
            stride=stride,
            n_batch=batch,
            predictors=() if trained is None else trained.fitting(loaded),
            save_trace=save_trace,
            text_source=text_source(text, content),
            force=force,
            on_progress=on_progress,
        )
    rows = {"perplexity": f"{found.perplexity:.4g} over {found.n_scored} tokens"} | headline(found.result.to_dict())
    table(["", ""], [list(row) for row in rows.items()], title=found.title, left=2)
    if json is not None:
        write_text(json, found.to_json())


def _planned(spec: "ModelSpec", window_tokens: int, prompt_tokens: int) -> "Trace":
    """One window of a text."""
    import numpy as np

    from dipsim.groups import SITES
    from dipsim.trace import Trace

    return Trace.planned(spec, SITES, np.zeros((1, max(1, window_tokens - prompt_tokens)), np.int64), prompt_tokens)


def require_torch(command: str) -> None:
    """Refuses a command that needs the extra `capture` where that is not installed.

    Raises:
        DipsimError: torch or transformers is missing.
    """
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        raise DipsimError(f"{command}: torch and transformers are not installed; pip install 'dipsim[capture]'")

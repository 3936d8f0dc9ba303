"""`dipsim allocate`: the split of a density that keeps a text's loss lowest, as a file for the other commands."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dipsim.cli import options
from dipsim.cli.described import takes_simulation
from dipsim.cli.evaluate import require_torch
from dipsim.cli.help_pages import OUTPUT

if TYPE_CHECKING:
    from dipsim.methods import Keeps
    from dipsim.simulation import Simulation

SEARCH = "Search"


@takes_simulation("trace", "tokens", "density", "keep_input", "keep_glu", "keeps")
def allocate(
    model_path: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A folder, hub id or .gguf of a causal LM with gated MLPs, or 'tiny'."),
    ],
    text: Annotated[str, typer.Argument(help="The text to fit on: a UTF-8 file, or 'held-out'.")],
    density: Annotated[
        float,
        typer.Option(
            metavar="SHARE", help="Active share of the three MLP matrices, held exactly.", rich_help_panel=SEARCH
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--output", "-o", help="The split, as JSON; trials are kept beside it.", rich_help_panel=OUTPUT),
    ],
    describe: "Callable[..., Simulation]",
    per_layer: Annotated[
        bool,
        typer.Option(
            "--per-layer", help="A density and a split for each layer; the mean is held.", rich_help_panel=SEARCH
        ),
    ] = False,
    trials: Annotated[int, typer.Option(help="Splits to try, the paper's first.", rich_help_panel=SEARCH)] = 50,
    seed: Annotated[
        int, typer.Option(help="Number that the search's random choices begin with.", rich_help_panel=SEARCH)
    ] = 0,
    tokens: options.TextTokens = None,
    window_tokens: options.WindowTokens = 256,
    prompt_tokens: options.PromptTokens = 0,
    bos: options.Bos = "auto",
    batch: options.Batch = 1,
    device: options.Device = "cpu",
    dtype: options.Dtype = "auto",
    force: options.Force = False,
) -> None:
    """Fit how dip or dip-ca splits a density over its matrices, and with --per-layer over layers, by perplexity.

    Interrupted, it goes on where it was when it is started again; so it does with more trials.

    Example: dipsim allocate tiny calibration.txt --method dip --density 0.4 -o keeps.json
    """
    require_torch("allocate")
    from dipsim import tuning
    from dipsim.cli.ending import keeping
    from dipsim.cli.terminal import progress, say, table
    from dipsim.files import check_output, write_text
    from dipsim.sparsify.capture import text_source
    from dipsim.sparsify.loading import load_model, read_text, windows
    from dipsim.tuning.search import require_optuna

    require_optuna()
    check_output(out, force)
    content = read_text(text)
    with progress(f"loading {model_path}") as on_progress:
        loaded = load_model(model_path, device, dtype, on_progress)
    ids = windows(loaded.tokenizer, content, window_tokens, n_tokens=tokens, bos=bos)
    journal = out.with_name(f"{out.name}.trials")
    with (
        keeping("finished trials", journal),
        progress("trying splits", "windows") as on_progress,
    ):
        found = tuning.allocate(
            loaded,
            ids,
            lambda trace, keep_input, keep_glu: describe(trace=trace, keep_input=keep_input, keep_glu=keep_glu),
            density,
            journal=journal,
            per_layer=per_layer,
            n_trials=trials,
            seed=seed,
            n_prompt=prompt_tokens,
            n_batch=batch,
            text_source=text_source(text, content),
            on_progress=on_progress,
        )
    table(["", ""], _rows(found), left=2)
    write_text(out, json.dumps(found.model_dump(), indent=2) + "\n")
    say(f"{found.trials} trials in {journal}; use the split by --keeps {out}")


def _rows(found: "Keeps") -> list[list[str]]:
    def shown(keep: float | list[float]) -> str:
        return ", ".join(f"{one:.4f}" for one in keep) if isinstance(keep, list) else f"{keep:.4f}"

    noise = ""
    if found.loss_interval is not None:
        low, high = found.loss_interval
        noise = f" ({low:+.4f} to {high:+.4f}, 95 % interval{'; within noise' if high >= 0 else ''})"
    return [
        ["loss", f"{found.loss:.4f} nats, {found.loss_of_paper_rule:.4f} by the paper's rule{noise}"],
        ["keep at the input", shown(found.keep_input)],
        ["keep at the product", shown(found.keep_glu)],
        ["density", f"{found.density:.4g}, the best of {found.trials} trials"],
    ]

"""`dipsim train-predictor`: a network per layer that foresees which neurons a token needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dipsim.cli import options
from dipsim.cli.evaluate import require_torch
from dipsim.cli.help_pages import OUTPUT
from dipsim.errors import DipsimError

_HELD_OUT = 10  # every tenth window is not trained on


def train_predictor(
    model: Annotated[str, typer.Argument(help="A folder, hub id or .gguf of a causal LM with gated MLPs, or 'tiny'.")],
    text: Annotated[str, typer.Argument(help="A UTF-8 text file, another one than is evaluated later.")],
    out: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="File for the networks of all layers (safetensors).", rich_help_panel=OUTPUT
        ),
    ],
    rank: Annotated[int, typer.Option(help="Width of each network's hidden layer, which costs bytes.")] = 64,
    density: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of neurons that are to be found for each token.")
    ] = 0.5,
    epochs: Annotated[int, typer.Option(help="How often the model runs through the text.")] = 10,
    tokens: options.TextTokens = None,
    window_tokens: Annotated[
        int, typer.Option(help="Tokens of a window; every tenth window is held out.", rich_help_panel=options.TEXT)
    ] = 256,
    bos: options.Bos = "auto",
    seed: Annotated[int, typer.Option(help="Number that initial weights and the order of tokens begin with.")] = 0,
    batch: options.Batch = 1,
    device: options.Device = "cpu",
    dtype: options.Dtype = "auto",
    force: options.Force = False,
) -> None:
    """Train predictors for the method 'predictor' on a text, and print how many of the largest neurons they find.

    Interrupted, it goes on where it was when it is started again.

    Example: dipsim train-predictor tiny my-text.txt -o predictor.safetensors --rank 64 --density 0.5
    """
    require_torch("train-predictor")
    import numpy as np

    from dipsim.cli.ending import keeping
    from dipsim.cli.terminal import progress, say, table
    from dipsim.files import check_output
    from dipsim.methods import Predictor
    from dipsim.sparsify.capture import text_source
    from dipsim.sparsify.loading import load_model, read_text, windows
    from dipsim.sparsify.predictor_training import recall, train
    from dipsim.sparsify.predictors import TrainedPredictors

    check_output(out, force)
    masking, content = Predictor(density, rank), read_text(text)
    with progress(f"loading {model}") as on_progress:
        loaded = load_model(model, device, dtype, on_progress)
    ids = windows(loaded.tokenizer, content, window_tokens, n_tokens=tokens, bos=bos)
    is_held_out = np.arange(len(ids)) % _HELD_OUT == 0
    if is_held_out.all():
        raise DipsimError("text: got 1 window; at least 2 are needed, one to train on and one to be held out")
    checkpoint, source = out.with_name(f"{out.name}.training"), text_source(text, content)
    with keeping("networks that have learnt so far", checkpoint):
        with progress("training on", "windows") as on_progress:
            networks = train(
                loaded,
                ids[~is_held_out],
                masking,
                n_epochs=epochs,
                n_batch=batch,
                seed=seed,
                checkpoint=checkpoint,
                anew=force,
                text_source=source,
                on_progress=on_progress,
            )
        with progress("looking at held-out", "windows") as on_progress:
            found = recall(loaded, ids[is_held_out], networks, density, batch, on_progress)
    TrainedPredictors(networks, loaded.spec, rank, density, source).save(out)
    checkpoint.unlink(missing_ok=True)
    rows = [*((str(layer), share) for layer, share in enumerate(found)), ("mean", sum(found) / len(found))]
    table(["layer", "recall", "by chance"], [[name, f"{share:.3f}", f"{density:.3f}"] for name, share in rows])
    n_windows = int(is_held_out.sum())
    say(f"{out}: recall is the share of the {density:.0%} largest neurons found, in {n_windows} windows held out")

"""`dipsim adapt`: LoRA that learns under the masks of a method."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dipsim.cli import options
from dipsim.cli.described import takes_simulation
from dipsim.cli.evaluate import require_torch
from dipsim.cli.help_pages import OUTPUT

if TYPE_CHECKING:
    from dipsim.simulation import Simulation

TRAINING = "Training"


# `rank` is that of the adapter here; methods with a rank of their own have networks of their own.
@takes_simulation("trace", "tokens", "warmup", "rank", "adapter_bytes")
def adapt(
    model_path: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A folder, hub id or .gguf of a causal LM with gated MLPs, or 'tiny'."),
    ],
    text: Annotated[str, typer.Argument(help="A UTF-8 text file; its last tenth is held out.")],
    out: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Folder for the adapter, in PEFT's format.", rich_help_panel=OUTPUT
        ),
    ],
    describe: "Callable[..., Simulation]",
    rank: Annotated[int, typer.Option(help="Rank of the LoRA.", rich_help_panel=TRAINING)] = 32,
    alpha: Annotated[
        float | None, typer.Option(help="The LoRA counts alpha / rank; the rank by default.", rich_help_panel=TRAINING)
    ] = None,
    loss: Annotated[
        str,
        typer.Option(
            metavar="kl|cross-entropy",
            help="kl: predict what the model without mask predicts; cross-entropy: predict the text.",
            rich_help_panel=TRAINING,
        ),
    ] = "kl",
    steps: Annotated[int, typer.Option(help="Updates, at most.", rich_help_panel=TRAINING)] = 1000,
    lr: Annotated[
        float, typer.Option(help="Highest learning rate; warm-up before, a cosine after it.", rich_help_panel=TRAINING)
    ] = 1e-3,
    evaluate_every: Annotated[
        int, typer.Option(help="Steps between looks at held-out text, and checkpoints.", rich_help_panel=TRAINING)
    ] = 50,
    patience: Annotated[
        int, typer.Option(help="Stop after so many looks without a gain.", rich_help_panel=TRAINING)
    ] = 5,
    seed: Annotated[
        int, typer.Option(help="Number that first weights and the order of text begin with.", rich_help_panel=TRAINING)
    ] = 0,
    tokens: options.TextTokens = None,
    window_tokens: options.WindowTokens = 256,
    bos: options.Bos = "auto",
    predictor: options.PredictorFile = None,
    batch: options.Batch = 8,
    device: options.Device = "cpu",
    dtype: options.Dtype = "float32",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the folder's checkpoint, under the same options.")
    ] = False,
    force: options.Force = False,
) -> None:
    """Train LoRA on the layers whose inputs a method masks, under its masks, cache state and all.

    Example: dipsim adapt tiny my-text.txt -o my-adapter --method dip --density 0.4 --rank 32
    """
    require_torch("adapt", "torch", "transformers", "peft")
    from dipsim import evaluation
    from dipsim.cli.ending import keeping
    from dipsim.cli.terminal import progress, table
    from dipsim.sparsify.adapters import Recipe, check_folder
    from dipsim.sparsify.adapters.folder import CHECKPOINT
    from dipsim.sparsify.capture import text_source
    from dipsim.sparsify.loading import load_model, read_text, windows
    from dipsim.sparsify.predictors import TrainedPredictors

    scale = rank if alpha is None else alpha
    recipe = Recipe(rank, scale, loss, lr, steps, batch, evaluate_every, patience, seed)
    check_folder(out, resume, force)
    trained = None if predictor is None else TrainedPredictors.load(predictor)
    content = read_text(text)
    with progress(f"loading {model_path}") as on_progress:
        loaded = load_model(model_path, device, dtype, on_progress)
    ids = windows(loaded.tokenizer, content, window_tokens, n_tokens=tokens, bos=bos)
    with (
        keeping("all steps up to the last checkpoint", out / CHECKPOINT, "--resume"),
        progress("training", "steps") as on_step,
    ):
        learnt = evaluation.adapt(
            loaded,
            ids,
            lambda trace: describe(trace=trace, rank=None if trained is None else trained.rank),
            out,
            recipe,
            predictors=() if trained is None else trained.fitting(loaded),
            text_source=text_source(text, content),
            resume=resume,
            on_step=on_step,
        )
    rows = {
        f"held-out {loss}": f"{learnt.loss_before:.4f} before, {learnt.loss:.4f} at step {learnt.best_step}",
        "steps": f"{learnt.steps} of at most {steps}",
        "adapter": f"{learnt.n_weights:,} weights, {learnt.n_bytes / 1e3:,.0f} kB in 16 bits",
    }
    table(["", ""], [list(row) for row in rows.items()], title=f"{loaded.name}, adapter in {out}", left=2)

"""`dipsim capture`: scores of a real model on a text."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dipsim.cli import options
from dipsim.cli.described import takes_description
from dipsim.cli.evaluate import require_torch
from dipsim.cli.help_pages import OUTPUT
from dipsim.errors import DipsimError

if TYPE_CHECKING:
    from dipsim.description import Description


@takes_description("method", "density", "keep_input", "keep_glu", "calibration", "method_options", method="dense")
def capture(
    model: Annotated[str, typer.Argument(help="A folder, hub id or .gguf of a causal LM with gated MLPs, or 'tiny'.")],
    text: Annotated[str, typer.Argument(help="A UTF-8 text file, or 'held-out' for the text tiny never saw.")],
    out: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="NAME.zarr (a folder) or NAME.zarr.zip (one file).", rich_help_panel=OUTPUT
        ),
    ],
    *,
    sites: Annotated[
        str | None,
        typer.Option(
            metavar="SITE,...",
            help="Scores to record, of mlp_input, glu (these by default), gate, up, predictor; "
            "the last three for the methods so named. Of a mixture of experts: router.",
        ),
    ] = None,
    sequence_tokens: Annotated[int, typer.Option(help="Recorded tokens of each sequence.")] = 128,
    prompt_tokens: Annotated[
        int, typer.Option(help="Tokens before them: run dense, not recorded, counted as KV positions.")
    ] = 0,
    sequences: Annotated[int | None, typer.Option(help="How many sequences; all that the text has by default.")] = None,
    bos: options.Bos = "auto",
    batch: options.Batch = 1,
    describe: "Callable[..., Description]",
    predictor: options.PredictorFile = None,
    device: options.Device = "cpu",
    dtype: options.Dtype = "auto",
    compact: options.Compact = False,
    force: options.Force = False,
) -> None:
    """Record per-token activation scores of a real model, dense or under the mask of a method (dip-ca excepted).

    Example: dipsim capture tiny held-out -o my.zarr.zip --sequences 4
    """
    require_torch("capture")
    from dipsim.cli.terminal import progress, say
    from dipsim.methods import Experts
    from dipsim.simulation.described import masking_of
    from dipsim.sparsify import capture
    from dipsim.sparsify.loading import load_model, read_spec, read_text, windows
    from dipsim.sparsify.predictors import TrainedPredictors

    trained = None if predictor is None else TrainedPredictors.load(predictor)
    told = describe()
    rank = trained.rank if trained is not None and told.method == "predictor" else None
    spec = read_spec(model)  # refuses before weights are loaded
    chosen = masking_of(told.model_copy(update={"rank": rank}))
    if spec.mixture is not None and told.method == "dense":
        chosen = Experts()  # a mixture as it is
    wanted = capture.usual_sites(spec) if sites is None else tuple(site.strip() for site in sites.split(","))
    capture.check_request(out, wanted, chosen, force)
    if predictor is not None and "predictor" not in (told.method, *wanted):
        raise DipsimError(f"predictor: got '{predictor}'; neither --method nor --sites names the predictor")
    content = read_text(text)
    with progress(f"loading {model}") as on_progress:
        loaded = load_model(model, device, dtype, on_progress)
    ids = windows(loaded.tokenizer, content, prompt_tokens + sequence_tokens, sequences, bos=bos)
    with progress("capturing", "sequences") as on_progress:
        capture.capture(
            loaded,
            ids,
            out,
            masking=chosen,
            sites=wanted,
            n_prompt=prompt_tokens,
            n_batch=batch,
            predictors=() if trained is None else trained.fitting(loaded),
            text_source=capture.text_source(text, content),
            force=force,
            compact=compact,
            on_progress=on_progress,
        )
    say(
        f"{len(ids)} sequences of {sequence_tokens} tokens, {out.stat().st_size / 1e6:.1f} MB in {out}"
        if out.is_file()
        else f"{len(ids)} sequences of {sequence_tokens} tokens in {out}"
    )

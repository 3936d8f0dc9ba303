"""`dipsim drift`: what replaying a trace under a mask gets wrong, and the line that a certified trace adds to a run."""

import json as json_format
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dipsim.cli import options
from dipsim.cli.described import takes_simulation
from dipsim.cli.evaluate import require_torch

if TYPE_CHECKING:
    from dipsim.simulation import Simulation
    from dipsim.trace import Gap, Trace

LABELS = {
    "hit_rate": "hit rate",
    "byte_hit_rate": "byte hit rate",
    "flash_bytes_per_token": "Flash per token",
    "tok_per_s": "tok/s",
    "mlp_error": "MLP error",
    "mlp_density": "density",
}


@takes_simulation("trace", "tokens", "rank")
def drift(
    trace: options.Trace,
    model_path: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="The model it was captured from: a folder, hub id, .gguf or 'tiny'."),
    ],
    text: Annotated[str, typer.Argument(help="The text it was captured on: a UTF-8 file, or 'held-out'.")],
    describe: "Callable[..., Simulation]",
    sequences: Annotated[int | None, typer.Option(help="Only the trace's first N sequences; all by default.")] = None,
    certify: Annotated[
        bool, typer.Option("--certify", help="Store the gaps in the trace, for 'simulate' to tell.")
    ] = False,
    bos: options.Bos = "auto",
    predictor: options.PredictorFile = None,
    batch: options.Batch = 1,
    device: options.Device = "cpu",
    dtype: options.Dtype = "auto",
    json: options.Json = None,
    force: options.Force = False,
) -> None:
    """Replay a trace, run the model on the same tokens with the mask in the loop, and print the gap between the two.

    Example: dipsim drift tiny tiny held-out --method dip-ca --density 0.5 --policy lfu --dram 0.6x
    """
    require_torch("drift")
    from dipsim import evaluation
    from dipsim.cli.terminal import progress, say, stdout, table
    from dipsim.files import check_output, check_writable, write_text
    from dipsim.sparsify.loading import load_model, read_text
    from dipsim.sparsify.predictors import TrainedPredictors
    from dipsim.trace import Trace

    if json is not None:
        check_output(json, force)
    opened = Trace.open(trace)
    if certify:
        opened.check_may_certify()
        check_writable(f"certify: got '{trace}'", Path(opened.path).parent)
    trained = None if predictor is None else TrainedPredictors.load(predictor)
    content = read_text(text)
    with progress(f"loading {model_path}") as on_progress:
        loaded = load_model(model_path, device, dtype, on_progress)
    with progress("running", "windows") as on_progress:
        found = evaluation.drift(
            loaded,
            content,
            opened,
            lambda own: describe(trace=own, rank=None if trained is None else trained.rank),
            n_sequences=sequences,
            n_batch=batch,
            predictors=() if trained is None else trained.fitting(loaded),
            bos=bos,
            on_progress=on_progress,
        )
    columns = ["", "replay", "closed loop", "gap", "relative", "95 % interval"]
    table(columns, [_row(name, gap) for name, gap in found.gaps.items()], title=found.title)
    stdout.print(f"\n{_sample(found.n_sequences, found.captured_under)}", soft_wrap=True, markup=False)
    if json is not None:
        write_text(json, json_format.dumps(found.to_dict(), indent=2) + "\n")
    if certify:
        opened.certify(found.certificate)
        say(f"certificate stored in {trace}")


def certificate_line(trace: "Trace", config: dict[str, Any]) -> str | None:
    """What a trace says of runs like this one: of the certificate that is nearest to it; None where it has none."""
    if not trace.certificates:
        return None
    # Of equally near ones the latest.
    differences, found = min(
        ((one.differences(config), one) for one in reversed(trace.certificates)), key=lambda pair: len(pair[0])
    )
    hits, speed = found.gaps["hit_rate"], found.gaps["tok_per_s"]
    run = f"{found.options['method']}, {found.options['policy']} on {found.options['profile']['name']}"
    return (
        f"drift certificate of the trace ({run}; {found.n_tokens} tokens): replay minus closed loop is "
        f"{hits.gap:+.4f} in hit rate, {_percent(speed.relative)} in tok/s"
        + (f"; this run has another {', '.join(differences)}" if differences else "")
    )


def _row(name: str, gap: "Gap") -> list[str]:
    from dipsim.units import scaled, three_digits

    def shown(value: float) -> str:
        if name == "flash_bytes_per_token":
            return scaled(value, "B")
        return three_digits(value) if name == "tok_per_s" else f"{value:.4f}"

    def signed(value: float) -> str:
        return f"{'-' if value < 0 else '+'}{shown(abs(value))}"

    interval = "" if gap.interval is None else " to ".join(map(signed, gap.interval))
    numbers = [shown(gap.replay), shown(gap.closed_loop), signed(gap.gap), _percent(gap.relative), interval]
    return [LABELS[name], *numbers]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:+.2f} %"


def _sample(n_sequences: int, captured_under: Any) -> str:
    """What the numbers are from."""
    name = captured_under.get("name") if isinstance(captured_under, dict) else None
    options = {key: value for key, value in captured_under.items() if value is not None} if name else {}
    details = ", ".join(f"{key} {value}" for key, value in options.items() if key != "name")
    under = f"{name} ({details})" if details else name or "a method it does not tell"
    spread = (
        "the interval is from paired differences over them (Student t)"
        if n_sequences > 1
        else "an interval needs two or more"
    )
    return f"Sequences: {n_sequences}; {spread}. The trace was captured under {under}. Gap: replay minus closed loop."

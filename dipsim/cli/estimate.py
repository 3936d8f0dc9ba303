"""`dipsim estimate`: a model on a device, from nothing but their names."""

import json as json_format
import shlex
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dipsim.cli import options
from dipsim.cli.completion import completing
from dipsim.cli.described import takes_description
from dipsim.description import OPTIONS, default_of, flag_of

if TYPE_CHECKING:
    from dipsim.description import Description
    from dipsim.estimation import Estimate

# What an estimate sets itself, as in `dipsim.estimation`, which is not loaded for --help.
OWN_OPTIONS = ("tokens", "warmup", "prompt", "calibration")
NOTE = """
Scores are synthetic: how alike successive tokens are decides what a cache is worth, and of most models nobody knows it.
Low to high is what is known; record the model itself (dipsim capture) to know more."""


@takes_description(*(name for name in OPTIONS if name not in ("model", *OWN_OPTIONS)), profile="oneplus-12-ufs4")
def estimate(
    model: Annotated[
        str,
        typer.Argument(
            help="A name of 'dipsim list models', a folder with a config.json, or a .gguf file.",
            autocompletion=completing("model"),
        ),
    ],
    describe: "Callable[[], Description]",
    json: options.Json = None,
    force: options.Force = False,
) -> None:
    """How fast will a model be on a device? Without a trace and without torch: a band, beside the dense model.

    Example: dipsim estimate phi-3-medium --profile oneplus-12-ufs4 --dram 4GB
    """
    from dipsim import estimation
    from dipsim.cli.terminal import progress, stdout, table
    from dipsim.files import check_output, write_text

    if json is not None:
        check_output(json, force)
    given = describe().model_dump()
    profile = given.pop("profile")
    asked = {name: value for name, value in given.items() if value != default_of(name)}
    with progress("estimating", "runs") as on_progress:
        found = estimation.estimate(model, profile, on_progress, **asked)
    stdout.print(f"{found.headline}\n", soft_wrap=True, markup=False)
    table(["", *found.results], _rows(found))
    stdout.print(f"\n{_memory(found)}{NOTE}\n\nNext: {_next(model, asked, found)}", soft_wrap=True, markup=False)
    if json is not None:
        write_text(json, json_format.dumps(_as_data(found), indent=2, allow_nan=False) + "\n")


def _rows(found: "Estimate") -> list[list[str]]:
    from dipsim.units import scaled, three_digits

    runs = found.runs
    lines: dict[str, Callable[[Any], str]] = {
        "throughput (tok/s)": lambda run: three_digits(run.tok_per_s),
        "a token takes": lambda run: scaled(run.tpot_s, "s"),
        "the first one, after 512": lambda run: scaled(run.ttft_s, "s"),
        "hit rate": lambda run: f"{run.hit_rate:.3f}",
        "MLP error": lambda run: "" if run.mlp_error is None else f"{run.mlp_error:.3f}",
        "Flash per token": lambda run: scaled(run.flash_bytes_per_token, "B"),
        "DRAM per token": lambda run: scaled(run.dram_bytes_per_token, "B"),
        "energy per token": lambda run: "" if run.energy_j_per_token is None else scaled(run.energy_j_per_token, "J"),
        "bound": lambda run: run.bound,
    }
    return [[name, *(of(run) for run in runs.itertuples())] for name, of in lines.items()]


def _memory(found: "Estimate") -> str:
    """What fits into DRAM."""
    from dipsim.results.headline import headline

    return f"DRAM: {headline(next(iter(found.results.values())).to_dict())['DRAM']}"


def _next(model: str, asked: dict[str, Any], found: "Estimate") -> str:
    """What to type to see where the time goes."""
    trace = f"{found.model.name}.zarr"
    typed = "".join(f" {word}" for name, value in asked.items() for word in _typed(flag_of(name), value))
    profile, method = found.described.profile, "" if "method" in asked else f" --method {found.described.method}"
    return (
        f"dipsim synth {model} --prompt-tokens 512 -o {trace}\n"
        f"      dipsim explain {trace} --profile {profile}{method}{typed} --warmup 64"
    )


def _typed(flag: str, value: Any) -> list[str]:
    """An option as it is typed: one word for yes or no, once for each value of several."""
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    if isinstance(value, dict):
        return [f"--{flag} {shlex.quote(f'{name}={json_format.dumps(own)}')}" for name, own in value.items()]
    values = value if isinstance(value, list | tuple) else [value]
    return [f"--{flag} {shlex.quote(str(own))}" for own in values]


def _as_data(found: "Estimate") -> dict[str, Any]:
    runs = found.runs.astype(object).where(found.runs.notna(), None).to_dict(orient="records")
    low, default, high = found.tok_per_s
    return {
        "model": found.model.model_dump(mode="json"),
        "tok_per_s": {"low": low, "default": default, "high": high},
        "runs": runs,
        "config": found.described.model_dump(mode="json"),
        "dipsim_version": version("dipsim"),
    }

"""`dipsim demo`: a model that people run on phones, on shipped devices, a table and two figures, without network."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dipsim.errors import DipsimError, DipsimWarning

if TYPE_CHECKING:
    import pandas as pd

    from dipsim.trace import Trace

MODEL, LIKE = "llama-3.2-3b", "qwen2.5-coder-1.5b"
TOKENS, WARMUP = 128, 32
DRAM = "1.6GB"
DRAMS = ("1GB", "1.2GB", "1.4GB", DRAM, "1.8GB")
SETTINGS = "density 0.5, gamma 0.5"
METHODS: dict[str, dict[str, float]] = {
    "dense": {},
    "dip": {"density": 0.5},
    "dip-ca": {"density": 0.5, "gamma": 0.5},
}
POLICIES = ("lru", "lfu", "belady")
PROFILES = ("a18-paper", "oneplus-12-ufs4", "iphone-16")
DRAWN = PROFILES[:2]
NUMBERS = ("dram.capacity_bytes", "n_tokens", "tok_per_s", "hit_rate", "mlp_density", "mlp_error")
NOTES = f"""
The shape of {MODEL}, 4 bits for a weight of MLP and attention, 8 for the LM head: 1.8 GB, of which DRAM holds {DRAM}.
Scores are made up, like those of {LIKE}, a real model of half the size: hit rates of your model differ.
a18-paper is the publication's device, whose Flash takes a read of any size at its full rate. Phones take pieces of 1.5
and 8 kB, as a column has here, at a fraction of it, and dense weights in long reads: skipping columns can cost more
there than it saves.
MLP error, estimated from the scores, is a proxy: 'dipsim evaluate' gives perplexity of a real model under such masks.
belady is an oracle: it has no row with dip-ca, whose masks depend on what the cache keeps."""


def demo(
    out: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder for figures and their data; the demo's own files in it are replaced.",
        ),
    ] = Path("dipsim-demo"),
) -> None:
    """Compare dense, DIP and cache-aware DIP for a model of 3 billion weights on phones and on the paper's device."""
    from dipsim import plots
    from dipsim.cli.ending import keeping
    from dipsim.cli.terminal import say, stdout
    from dipsim.files import check_writable

    if out.exists() and not out.is_dir():
        raise DipsimError(f"output: got '{out}'; must be a folder")
    check_writable(f"output: got '{out}'", out)
    by_each_policy = [
        {"profile": profile, "method": method, "policy": policy, "dram": DRAM}
        for method, policy, profile in itertools.product(METHODS, POLICIES, PROFILES)
        if (method, policy) != ("dip-ca", "belady")  # no oracle for masks that depend on the cache
    ]
    by_each_dram = [
        {"profile": profile, "method": method, "policy": "lfu", "dram": dram}
        for profile, method, dram in itertools.product(DRAWN, METHODS, DRAMS)
        if dram != DRAM  # is there already
    ]
    frame = _simulated(by_each_policy + by_each_dram)
    policies = frame[: len(by_each_policy)]
    _print_table(policies)
    stdout.print(NOTES, soft_wrap=True)
    out.mkdir(parents=True, exist_ok=True)
    drawn = frame[frame["profile"].isin(DRAWN)]
    by_dram, by_policy = out / "throughput-by-dram.svg", out / "throughput-by-policy.svg"
    curves, bars = drawn[drawn["policy"] == "lfu"], drawn[drawn["dram"] == DRAM]
    with keeping("figures that are drawn", by_dram):
        title = f"{MODEL}, lfu, {SETTINGS}"
        plots.curves(curves, "dram.capacity_bytes", by="method", panels="profile", title=title).save(by_dram)
        title = f"{MODEL}, {SETTINGS}, DRAM {DRAM}"
        plots.curves(bars, "policy", by="method", panels="profile", title=title).save(by_policy)
    say(f"figures: {by_dram}, {by_policy}; data beside them as CSV")


def _simulated(runs: list[dict[str, str]]) -> pd.DataFrame:
    """One row per run, its settings and its numbers, all on scores that are gone afterwards."""
    import pandas as pd

    from dipsim.cli.terminal import progress
    from dipsim.model import ModelSpec
    from dipsim.synthetic import synthesize

    with tempfile.TemporaryDirectory() as folder:
        with progress(f"making scores for {MODEL}") as on_progress:
            path = Path(folder) / "demo.zarr"
            trace = synthesize(path, ModelSpec.load(MODEL), TOKENS, like=LIKE, on_progress=on_progress)
        with progress("simulating") as on_progress:
            return pd.DataFrame(_rows(runs, trace, on_progress))


def _rows(runs: list[dict[str, str]], trace: Trace, on_progress: Callable[[int, int], None]) -> list[dict[str, Any]]:
    from dipsim import methods
    from dipsim.profile import HardwareProfile
    from dipsim.simulation import Simulation

    rows = []
    for done, run in enumerate(runs):
        on_progress(done, len(runs))
        method = methods.make(run["method"], **METHODS[run["method"]])
        profile = HardwareProfile.load(run["profile"])
        with warnings.catch_warnings():
            # With one policy alone it does not matter where policies agree.
            warnings.filterwarnings("ignore", "slots: ", DipsimWarning)
            result = Simulation(profile, trace, method, run["policy"], dram=run["dram"], warmup=WARMUP).run()
        rows.append({**run, **result.summary.iloc[0][list(NUMBERS)]})
    return rows


def _print_table(frame: pd.DataFrame) -> None:
    from dipsim.cli.terminal import table
    from dipsim.units import three_digits

    rows = []
    for (method, policy), runs in frame.groupby(["method", "policy"], sort=False):
        fidelity = runs.iloc[0]
        rows.append(
            [
                str(method),
                str(policy),
                *(three_digits(rate) for rate in runs["tok_per_s"]),
                *(f"{fidelity[name]:.3f}" for name in ("hit_rate", "mlp_density", "mlp_error")),
            ]
        )
    columns = [
        "method",
        "policy",
        *(f"{name} tok/s" for name in PROFILES),
        "hit rate",
        "MLP density",
        "MLP error",
    ]
    title = f"{MODEL}, {frame['n_tokens'].iloc[0]} tokens, {SETTINGS}, --dram {DRAM}"
    table(columns, rows, title=title, left=2)

"""`dipsim demo`: the shipped trace on the shipped devices, a table and two figures, without network."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dipsim.errors import DipsimError, DipsimWarning

if TYPE_CHECKING:
    import pandas as pd

DRAM = "0.5x"
NOTES = f"""
The model is small (2.8 million weights), so tokens per second are far above a large model's; --dram {DRAM} means that
DRAM holds half of its attention, LM head, KV cache and MLP bytes.
Its MLP columns are 128 and 896 bytes. a18-paper's Flash takes any size alike; the others have a latency for each batch
and read whole pages, so that skipping such small columns can cost more there than it saves.
belady is an oracle: it has no row with dip-ca, whose masks depend on what the cache keeps."""
SETTINGS = "density 0.4, gamma 0.2"
METHODS = ("dense", "dip", "dip-ca")
OPTIONS: dict[str, dict[str, float]] = {
    "dense": {},
    "dip": {"density": 0.4},
    "dip-ca": {"density": 0.4, "gamma": 0.2},
}
NUMBERS = ("dram.capacity_bytes", "n_tokens", "tok_per_s", "hit_rate", "mlp_density", "retained_magnitude")
POLICIES = ("lru", "lfu", "belady")
PROFILES = ("a18-paper", "oneplus-12-ufs4", "desktop-pcie4")
DRAM_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def demo(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder for figures and their data; the demo's own files in it are replaced."),
    ] = Path("dipsim-demo"),
) -> None:
    """Compare dense, DIP and cache-aware DIP on the trace and devices that ship with dipsim."""
    from dipsim import plots
    from dipsim.cli.terminal import progress, say, stdout
    from dipsim.files import check_writable

    if out.exists() and not out.is_dir():
        raise DipsimError(f"output: got '{out}'; must be a folder")
    check_writable(f"output: got '{out}'", out)
    by_policy = [
        {"profile": profile, "method": method, "policy": policy, "dram": DRAM}
        for method, policy, profile in itertools.product(METHODS, POLICIES, PROFILES)
        if (method, policy) != ("dip-ca", "belady")  # no oracle for masks that depend on the cache
    ]
    by_dram = [
        {"profile": PROFILES[0], "method": method, "policy": "lfu", "dram": f"{share}x"}
        for method, share in itertools.product(METHODS, DRAM_SHARES)
    ]
    with progress("simulating the shipped trace") as on_progress:
        frame = _run(by_policy + by_dram, on_progress)
    policies, drams = frame[: len(by_policy)], frame[len(by_policy) :]
    _print_table(policies)
    stdout.print(NOTES, soft_wrap=True)
    out.mkdir(parents=True, exist_ok=True)
    on_paper = policies[policies["profile"] == PROFILES[0]]
    rates = plots.curves(on_paper, "policy", "hit_rate", by="method", title=f"tiny, {SETTINGS}, {DRAM} DRAM")
    rates.save(out / "hit-rate-by-policy.svg")
    title = f"tiny on {PROFILES[0]}, lfu, {SETTINGS}"
    plots.curves(drams, "dram.capacity_bytes", by="method", title=title).save(out / "throughput-by-dram.svg")
    say(f"figures: {out / 'hit-rate-by-policy.svg'}, {out / 'throughput-by-dram.svg'}; their data beside them as CSV")


def _run(runs: list[dict[str, str]], on_progress: Callable[[int, int], None]) -> pd.DataFrame:
    """One row per run: its settings and its numbers."""
    import pandas as pd

    from dipsim import methods
    from dipsim.profile import HardwareProfile
    from dipsim.simulation import Simulation
    from dipsim.trace import Trace

    trace = Trace.open("tiny")
    rows = []
    for done, run in enumerate(runs):
        on_progress(done, len(runs))
        chosen = methods.make(run["method"], **OPTIONS[run["method"]])
        profile = HardwareProfile.load(run["profile"])
        with warnings.catch_warnings():
            if run["dram"] != DRAM:  # one policy alone, so that it does not matter where policies agree
                warnings.filterwarnings("ignore", "slots: ", DipsimWarning)
            result = Simulation(profile, trace, chosen, run["policy"], dram=run["dram"]).run()
        numbers = result.summary.iloc[0]
        rows.append({**run, **numbers[list(NUMBERS)]})
    return pd.DataFrame(rows)


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
                *(f"{fidelity[name]:.3f}" for name in ("hit_rate", "mlp_density", "retained_magnitude")),
            ]
        )
    columns = [
        "method",
        "policy",
        *(f"{name} tok/s" for name in PROFILES),
        "hit rate",
        "MLP density",
        "retained magnitude",
    ]
    table(columns, rows, title=f"tiny, {frame['n_tokens'].iloc[0]} tokens, {SETTINGS}, --dram {DRAM}", left=2)

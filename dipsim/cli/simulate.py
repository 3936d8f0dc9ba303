"""`dipsim simulate`: one run, its summary as a table and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dipsim.cli import options

if TYPE_CHECKING:
    from dipsim.simulation import Simulation


def simulate(
    trace: options.Trace,
    profile: options.Profile = "a18-paper",
    method: options.Method = "dip-ca",
    density: options.Density = None,
    keep_input: options.KeepInput = None,
    keep_glu: options.KeepGlu = None,
    gamma: options.Gamma = None,
    rule: options.Rule = None,
    exempt_top: options.ExemptTop = None,
    gamma_warm_up: options.GammaWarmUp = False,
    top_m: options.TopM = None,
    policy: options.Policy = "lfu",
    admission: options.Admission = "always",
    dram: options.Dram = None,
    budget: options.Budget = "uniform",
    context: options.Context = None,
    stream_pinned: options.StreamPinned = True,
    model: options.Model = None,
    overlap: options.Overlap = "pipelined",
    tokens: options.Tokens = None,
    warmup: options.Warmup = 0,
    json: options.Json = None,
    force: options.Force = False,
) -> None:
    """Replay a trace on a device and print tokens per second, hit rate and where the time goes.

    Example: dipsim simulate tiny --profile oneplus-12-ufs4 --method dip-ca --density 0.5 --policy lfu --dram 0.5x
    """
    from dipsim.files import check_output
    from dipsim.model import ModelSpec
    from dipsim.profile import HardwareProfile
    from dipsim.simulation import Simulation
    from dipsim.trace import Trace

    if json is not None:
        check_output(json, force)
    chosen = options.make_method(
        method,
        density=density,
        gamma=gamma,
        keep_input=keep_input,
        keep_glu=keep_glu,
        rule=rule,
        exempt_top=exempt_top,
        warm_up=gamma_warm_up or None,
        top_m=top_m,
    )
    simulation = Simulation(
        HardwareProfile.load(profile),
        Trace.open(trace),
        chosen,
        policy,
        admission=admission,
        dram=dram,
        budget=budget,
        overlap=overlap,
        stream_pinned=stream_pinned,
        model=None if model is None else ModelSpec.load(model),
        context=context,
        tokens=tokens,
        warmup=warmup,
    )
    _run(simulation, json)


def _run(simulation: Simulation, json: Path | None) -> None:
    """Runs with a progress bar, prints the summary and writes the JSON."""
    from dipsim.cli.terminal import progress, table
    from dipsim.files import write_text
    from dipsim.results.result import headline

    with progress("simulating tokens") as on_progress:
        result = simulation.run(on_progress)
    config = result.config
    title = f"{config['model']['name']} on {config['profile']['name']}, {config['method']}, {config['policy']}"
    table(["", ""], [list(row) for row in headline(result.to_dict()).items()], title=title, left=2)
    if json is not None:
        write_text(json, result.to_json())

"""What can each device do: its Flash and DRAM, and tokens per second of one model, side by side."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dipsim import shipped
from dipsim.description import Description
from dipsim.devices import Flash
from dipsim.errors import DipsimError, DipsimWarning
from dipsim.estimation import DENSE, n_tokens_of, scores_of
from dipsim.model import ModelSpec
from dipsim.profile import HardwareProfile, extends
from dipsim.progress import shown_in_notebooks
from dipsim.simulation import Simulation
from dipsim.trace import Trace

MODEL = "llama-3-8b"
RANDOM_BYTES = {"4k": 4096, "64k": 65536}


def devices() -> list[str]:
    """Names of the devices that ship, without variants of one."""
    return [name for name, path in shipped.names("hwprofiles", ".toml").items() if not extends(path)]


@shown_in_notebooks("comparing", "devices")
def compare_devices(
    profiles: Sequence[str] | None = None,
    model: str | Path | ModelSpec = MODEL,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """A row for each device, in SI units: `flash.random_4k_bytes_per_s`, `flash.random_64k_bytes_per_s` (at a full
    queue) and `flash.sequential_bytes_per_s`, `profile.dram.read_bytes_per_s` (achieved) and `.peak_bytes_per_s`,
    `profile.dram.capacity_bytes` and `dram.capacity_bytes` (what models may use), and simulated: `tok_per_s`, its
    `bound`, and `tok_per_s_in_dram`, as fast as it were if all of the model fitted into DRAM.

    Simulated is the dense model on each device's own unit, with the tokens of an estimate; of a mixture, its experts
    cached by the usual policy, with synthetic routes.

    Args:
        profiles: names or TOML files; by default all that ship and are no variants of another.
        model: a preset's name, a folder with a config.json, a .gguf file, or a `ModelSpec`.
        on_progress: called with the devices done and the devices to do.

    Raises:
        DipsimError: an unknown name, one device twice, or an invalid file.
    """
    names = devices() if profiles is None else list(profiles)
    own = [HardwareProfile.load(name) for name in names]
    for index, profile in enumerate(own):
        if profile.name in [other.name for other in own[:index]]:
            raise DipsimError(f"profile: got '{profile.name}' twice; each device is a row of its own")
    spec = model if isinstance(model, ModelSpec) else ModelSpec.load(model)
    trace = scores_of(spec, "default")
    rows = []
    for done, profile in enumerate(own):
        rows.append(_of_device(profile) | _of_model(profile, trace))
        on_progress(1 + done, len(own))
    return pd.DataFrame(rows)


def _of_device(profile: HardwareProfile) -> dict[str, Any]:
    flash, dram = profile.flash, profile.dram
    random = {
        f"flash.random_{size}_bytes_per_s": Flash(flash).random_bytes_per_s(n) for size, n in RANDOM_BYTES.items()
    }
    return {
        "profile": profile.name,
        **random,
        "flash.sequential_bytes_per_s": flash.read_bytes_per_s * flash.derate,
        "profile.dram.read_bytes_per_s": dram.read_bytes_per_s,
        "profile.dram.peak_bytes_per_s": dram.peak_bytes_per_s,
        "profile.dram.capacity_bytes": dram.capacity_bytes,
        "dram.capacity_bytes": dram.capacity_bytes - dram.reserved_bytes,
    }


def _of_model(profile: HardwareProfile, trace: Trace) -> dict[str, Any]:
    own = _run(profile, trace, None)
    all_fits = own if own["hit_rate"] == 1 else _run(profile, trace, "1x")
    return {
        "model": trace.model.name,
        "method": _method(trace),
        "tok_per_s": float(own["tok_per_s"]),
        "bound": own["bound"],
        "tok_per_s_in_dram": float(all_fits["tok_per_s"]),
    }


def _run(profile: HardwareProfile, trace: Trace, dram: str | None) -> dict[str, Any]:
    described = Description.parse(
        {"method": _method(trace), "warmup": n_tokens_of(trace.model) // 2, "dram": dram}, "options"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DipsimWarning)  # of more DRAM than there is
        return Simulation.from_description(described, trace, profile).run().to_dict()


def _method(trace: Trace) -> str:
    return DENSE if trace.model.mixture is None else "experts"

"""Devices side by side: `dipsim list devices`, and what `dipsim plot devices` draws, which needs no results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dipsim.cli.terminal import table
from dipsim.errors import DipsimError
from dipsim.units import scaled

if TYPE_CHECKING:
    import pandas as pd

    from dipsim.profile import HardwareProfile

KIND = "devices"


def asked(
    results: Path, kind: str | None, profiles: Sequence[str], model: str | None
) -> tuple[str, Callable[[Path], pd.DataFrame]]:
    """The kind of figure, and what reads or makes its frame of the argument `results`.

    Args:
        results: a folder or file; with no kind beside it, the word `devices`.
        kind: as it was given.
        profiles: of the devices to compare; none for all that ship.
        model: that they run; None for the usual one.

    Raises:
        DipsimError: something is missing, or was given to a figure that has no use for it.
    """
    if kind is None and str(results) == KIND:
        return KIND, lambda _: _compared(profiles, model)
    if kind == KIND:
        raise DipsimError(f"kind: figure '{KIND}' takes no results: dipsim plot {KIND} -o FIGURE")
    if kind is None:
        raise DipsimError(f"kind: missing; dipsim plot {results} KIND -o FIGURE, KIND a name of 'dipsim list figures'")
    for option, given in {"profile": profiles, "model": model}.items():
        if given:
            raise DipsimError(f"{option}: figure '{kind}' has no such option; '{KIND}' has it")
    from dipsim.sweeps import read_results

    return kind, read_results


def _compared(profiles: Sequence[str], model: str | None) -> pd.DataFrame:
    from dipsim.estimation.devices import MODEL, compare_devices

    return compare_devices(profiles or None, MODEL if model is None else model)


def list_shipped() -> None:
    """A line for each device that ships with dipsim."""
    from dipsim import shipped
    from dipsim.profile import HardwareProfile

    own = map(HardwareProfile.load, shipped.names("hwprofiles", ".toml"))
    table(["device", "Flash", "4 KiB reads", "DRAM", "", "unit"], [_line(profile) for profile in own])


def _line(profile: HardwareProfile) -> list[str]:
    """Flash in sequence and at random, DRAM for models and its speed, what the device's own unit computes."""
    from dipsim.devices import Flash

    flash, dram = profile.flash, profile.dram
    rates = [flash.read_bytes_per_s * flash.derate, Flash(flash).random_bytes_per_s(4096)]
    ops_per_s = None if profile.compute is None else profile.compute.ops_per_s
    return [
        profile.name,
        *(scaled(round(rate), "B/s") for rate in rates),
        scaled(dram.capacity_bytes - dram.reserved_bytes, "B"),
        scaled(dram.read_bytes_per_s, "B/s"),
        "-" if ops_per_s is None else scaled(ops_per_s, "op/s"),
    ]

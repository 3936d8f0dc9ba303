"""What do fio's results say of a device: a profile of its Flash, with all else from another profile."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tomlkit import TOMLDocument

from dipsim.calibration.fio import read_results
from dipsim.calibration.flash import flash_numbers
from dipsim.calibration.profile import Measured, document
from dipsim.errors import DipsimError
from dipsim.profile import HardwareProfile, find

# The most that a profile takes; fields that a file leaves out come from the profile that it extends.
_NO_LIMIT = 2**40


def calibrate_fio(results: Sequence[Path], path: Path, extends: str) -> TOMLDocument:
    """A profile of measured Flash, to be written with `write`.

    Args:
        results: JSON of fio.
        path: where the profile will be written.
        extends: DRAM, compute and energy come from this profile, a name or a file.

    Raises:
        DipsimError: no such profile, or as `read_results`.
    """
    points = read_results(results)
    numbers = dict(flash_numbers(points))
    other = HardwareProfile.load(extends).flash
    if other.max_read_bytes is not None:
        smallest = min(point.read_bytes for point in points)
        longest = _NO_LIMIT // smallest * smallest  # whole pages
        numbers["max_read_bytes"] = Measured(longest, f"D: no limit measured; that of {extends} is not meant")
    for name in ("copy_bytes_per_s", "map_bytes_per_s"):
        if getattr(other, name) is not None:
            numbers[name] = Measured(_NO_LIMIT, f"D: no copies measured; that of {extends} is not meant")
    if other.submit_s:
        numbers["submit_s"] = Measured(0.0, "A: measured reads have their submissions in them")
        numbers["submitters"] = Measured(1, "A: as above")
    return document(
        f"Flash measured with fio, all else from {extends}",
        [f"Flash: fio, {', '.join(result.name for result in results)}. All else: {extends}, not measured here."],
        {"flash": numbers},
        _seen_from(path, extends),
    )


def _seen_from(path: Path, extends: str) -> str:
    """What a file at this path calls the profile."""
    other = find(extends)
    if other.resolve() == path.resolve():
        raise DipsimError(f"extends: got '{extends}', which is the output; must be another profile")
    is_name = other != Path(extends)
    return extends if is_name else os.path.relpath(other, path.parent)

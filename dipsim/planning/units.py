"""Which compute units work side by side, and on how much of each MLP."""

from __future__ import annotations

import math

from dipsim.errors import DipsimError
from dipsim.profile import ComputeUnit, HardwareProfile


def units_beside(profile: HardwareProfile, given: str | None) -> tuple[tuple[ComputeUnit, float], ...]:
    """The units that a run names with their shares, as `npu=0.8,cpu=0.2`; none where it names none.

    Raises:
        DipsimError: something else, units that the profile does not have, or shares that are not all.
    """
    if given is None:
        return ()
    parts = [part.partition("=") for part in given.split(",")]
    names = [name.strip() for name, _, _ in parts]
    try:
        shares = [float(share) for _, _, share in parts]
    except ValueError:
        shares = []
    is_whole = len(shares) > 1 and min(shares) > 0 and math.isclose(sum(shares), 1, abs_tol=1e-6)
    if not is_whole or len({*names}) != len(names):
        raise DipsimError(
            f"units: got '{given}'; must be different units with shares above 0 that add up to 1, as npu=0.8,cpu=0.2"
        )
    found = [(profile.unit(name), share) for name, share in zip(names, shares, strict=True)]
    return tuple((unit, share) for unit, share in found if unit is not None)

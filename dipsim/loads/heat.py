"""How fast is a hot device: its temperature follows the energy that is spent, and its rate the temperature."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from dipsim.errors import DipsimError, choose
from dipsim.loads.protocol import is_number, positive, register_load

_DEVICES = ("flash", "dram", "compute")
# Temperature is looked at so often in the time in which it would change by two thirds.
_LOOKS = 1000


@register_load("heat")
@dataclass(frozen=True)
class Heat:
    """Rates fall with the energy that was spent: a lumped thermal resistance and capacity, and trip points.

    C dT/dt = P - (T - ambient) / R, where P is what all devices spend by the profile's `[energy]`, idle power included.
    At and above a trip point the device works at that share of its rate; of several, the lowest counts.

    Args:
        ambient_c: degrees Celsius around it, and at the beginning.
        resistance_c_per_w: thermal resistance R to the air.
        capacity_j_per_c: heat capacity C. Both are fitted: 2.7 W, as of decoding from Flash, reach 45 degrees in five
            minutes.
        trips: [degrees, share of the rate] each; .67 is what load left of a phone's Flash (BigMoeOnEdge, iobench).
        device: which device slows down.
    """

    ambient_c: float = 25.0
    resistance_c_per_w: float = 12.5
    capacity_j_per_c: float = 24.0
    trips: Sequence[Sequence[float]] = ((45.0, 0.67),)
    device: str = "flash"

    def __post_init__(self) -> None:
        positive("heat: resistance_c_per_w", self.resistance_c_per_w)
        positive("heat: capacity_j_per_c", self.capacity_j_per_c)
        choose("heat: device", self.device, _DEVICES)
        if not is_number(self.ambient_c):
            raise DipsimError(f"heat: ambient_c: got {self.ambient_c!r}; must be a number")
        object.__setattr__(self, "trips", _checked(self.trips))

    def run(self, env: Any, machine: Any) -> Generator[Any, Any, None]:
        """See `Load`."""
        settles_s = self.resistance_c_per_w * self.capacity_j_per_c
        step_s = settles_s / _LOOKS
        kept = math.exp(-step_s / settles_s)
        device, celsius, spent_j = getattr(machine, self.device), self.ambient_c, machine.spent_j
        idle_w = machine.idle_w
        while True:
            device.pace = min((share for trip_c, share in self.trips if celsius >= trip_c), default=1.0)
            yield env.timeout(step_s)
            before_j, spent_j = spent_j, machine.spent_j
            power_w = (spent_j - before_j) / step_s + idle_w
            settled_c = self.ambient_c + power_w * self.resistance_c_per_w
            celsius = settled_c + (celsius - settled_c) * kept


def _checked(trips: object) -> tuple[tuple[float, float], ...]:
    """The trip points.

    Raises:
        DipsimError: not pairs of a temperature and a share in (0, 1].
    """
    told = (
        f"heat: trips: got {trips!r}; must be [degrees, share of the rate above 0 and at most 1] each, as [[45, 0.67]]"
    )
    if not isinstance(trips, Sequence) or isinstance(trips, str):
        raise DipsimError(told)
    checked = []
    for trip in trips:
        is_pair = isinstance(trip, Sequence) and not isinstance(trip, str) and len(trip) == 2
        if not is_pair or not all(map(is_number, trip)) or not 0 < trip[1] <= 1:
            raise DipsimError(told)
        checked.append((float(trip[0]), float(trip[1])))
    return tuple(checked)

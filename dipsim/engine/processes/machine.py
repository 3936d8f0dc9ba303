"""Which devices are there, and who uses them beside the model."""

from __future__ import annotations

from typing import Any

import simpy

from dipsim.engine.processes.at_work import Clock
from dipsim.engine.processes.contract import answer_of
from dipsim.engine.processes.devices import Device
from dipsim.engine.processes.roles import ComputeDevice, DramDevice, FlashDevice
from dipsim.engine.seconds import Formulas
from dipsim.errors import DipsimError
from dipsim.planning.setup import Setup
from dipsim.profile import EnergySpec

ROLES: dict[str, type[Device]] = {"flash": FlashDevice, "dram": DramDevice, "compute": ComputeDevice}


class Machine:
    """The devices of a phone in one SimPy environment: what a load is given.

    Args:
        env: where time passes.
        setup: the run.
        formulas: how long things take by the profile.

    Attributes:
        profile: the phone.
        flash, dram, compute: its devices.
    """

    flash: FlashDevice
    dram: DramDevice
    compute: ComputeDevice

    def __init__(self, env: simpy.Environment, setup: Setup, formulas: Formulas) -> None:
        self.profile, self._unit, self._of_unit = setup.profile, setup.unit, Clock(env)
        slice_bytes = setup.profile.slice_bytes if setup.loads else float("inf")
        for role, default in ROLES.items():
            kind = setup.devices.get(role, default)
            setattr(self, role, _made(role, kind, env, slice_bytes, getattr(formulas, role), self._of_unit))

    @property
    def idle_w(self) -> float:
        """Power that is drawn all the time, by the profile; 0 where it is not told."""
        energy = self.profile.energy
        return (energy.idle_w if energy is not None else None) or 0.0

    @property
    def spent_j(self) -> float:
        """Energy that the devices have spent so far, for all users, without idle power.

        Raises:
            DipsimError: the profile lacks a number for it.
        """
        energy = self.profile.energy or EnergySpec()
        # Nobody asks a load for idle power.
        missing = [name for name in energy.missing(self._unit) if name != "idle_w"]
        if missing:
            raise DipsimError(
                f"profile '{self.profile.name}': energy.{missing[0]}: missing; energy needs flash_j_per_byte or "
                "flash_busy_w, dram_j_per_byte, and compute_j_per_op or the unit's busy_w"
            )
        amounts = {
            "flash_bytes": self.flash.moved_bytes,
            "flash_s": self.flash.busy_s,
            "dram_bytes": self.dram.moved_bytes,
            "n_ops": self.compute.done_ops,
            "unit_s": self._of_unit.seconds,
            "token_s": 0.0,
        }
        costs = [cost for part in energy.joules(self._unit).values() for cost in part]
        return sum(amounts[name] * each for name, each in costs if each is not None)


def _made(role: str, kind: type[Any], *arguments: Any) -> Device:
    """The device that plays a role.

    Raises:
        DipsimError: the class is not one that can, or cannot be made.
    """
    default = ROLES[role]
    if not (isinstance(kind, type) and issubclass(kind, default)):
        raise DipsimError(f"devices: {role}: got {kind!r}; must be a class derived from {default.__name__}")
    made: Device = answer_of(f"device {kind.__name__}", lambda: kind(*arguments))
    if not isinstance(made, default) or not hasattr(made, "_turns"):
        raise DipsimError(f"device {kind.__name__}: is not made; its __init__ must call super().__init__(*arguments)")
    return made

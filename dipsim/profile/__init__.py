"""What is the device: Flash, DRAM, compute and energy numbers from a strict TOML file."""

from dipsim.profile.reading import extends, find, origins, read
from dipsim.profile.spec import ComputeSpec, ComputeUnit, DramSpec, EnergySpec, FlashSpec, HardwareProfile

__all__ = [
    "ComputeSpec",
    "ComputeUnit",
    "DramSpec",
    "EnergySpec",
    "FlashSpec",
    "HardwareProfile",
    "extends",
    "find",
    "origins",
    "read",
]

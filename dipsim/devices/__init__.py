"""How long does a device take: Flash, DRAM and compute, which are given bytes and operations."""

from dipsim.devices.compute import Compute, Reach, reach_of
from dipsim.devices.dram import Dram
from dipsim.devices.flash import BY_INDEX, Flash, ReadBatches, Slices
from dipsim.devices.registry import devices, register_device
from dipsim.registry import lists_when_called

__all__ = [
    "BY_INDEX",
    "Compute",
    "Dram",
    "Flash",
    "Reach",
    "ReadBatches",
    "Slices",
    "devices",
    "reach_of",
    "register_device",
]

lists_when_called(__name__)

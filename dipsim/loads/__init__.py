"""Who else uses the machine: apps, display, garbage collection, heat; each one SimPy process, found by name."""

from dipsim.loads.heat import Heat
from dipsim.loads.pauses import FlashPauses
from dipsim.loads.protocol import Load, loads, register_load
from dipsim.loads.readers import DramTraffic, FlashReader
from dipsim.registry import lists_when_called

__all__ = ["DramTraffic", "FlashPauses", "FlashReader", "Heat", "Load", "loads", "register_load"]

lists_when_called(__name__)

"""Who else uses the machine: other apps, the display, garbage collection, heat; each one SimPy process, found by name."""

from dipsim.loads.protocol import Load, loads, register_load

__all__ = ["Load", "loads", "register_load"]

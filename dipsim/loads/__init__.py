"""Who else uses the machine: loads, each one class, found by name."""

from dipsim.loads.protocol import Load, loads, register_load

__all__ = ["Load", "loads", "register_load"]

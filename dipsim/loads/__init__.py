"""Who else uses the machine while the model decodes: loads, each one class, found by name."""

from dipsim.loads.protocol import Load, loads, register_load

__all__ = ["Load", "loads", "register_load"]

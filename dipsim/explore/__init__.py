"""A live page in the browser on this machine: a set-up under sliders, and what it gives."""

from dipsim.explore.serving import serve

__all__ = ["serve"]

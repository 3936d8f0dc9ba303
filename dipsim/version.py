"""Which dipsim is this."""

from importlib.metadata import version

__version__ = version("dipsim")

"""The fastest run that loses little: options of `simulate` are searched under a bound on magnitude or perplexity."""

from dipsim.tuning.allocate import allocate
from dipsim.tuning.bound import Bound
from dipsim.tuning.tuning import Tuned, tune

__all__ = ["Bound", "Tuned", "allocate", "tune"]

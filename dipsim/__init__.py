"""dipsim: how fast, how accurate and how hungry is a large language model on a device too small for it?

    import dipsim as ds

Names are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dipsim import layout as layouts
    from dipsim.budget import BudgetRequest, register_budget
    from dipsim.errors import DipsimError, DipsimWarning
    from dipsim.layout import register_layout
    from dipsim.masking import Cats, Dense, Dip, DipCa, Gate, Glu, MagnitudePruning, Predictor, Up
    from dipsim.model import ModelSpec
    from dipsim.policies import Policy, ScorePolicy, register_policy
    from dipsim.prefetch import register_prefetcher
    from dipsim.profile import HardwareProfile
    from dipsim.results import Result
    from dipsim.simulation import Simulation
    from dipsim.statistics import trace_statistics
    from dipsim.sweeps import sweep
    from dipsim.synthetic import synthesize
    from dipsim.trace import Trace, TraceWriter
    from dipsim.tuning import tune

_HOMES = {
    "BudgetRequest": "budget",
    "register_budget": "budget",
    "DipsimError": "errors",
    "DipsimWarning": "errors",
    "register_layout": "layout",
    "Cats": "masking",
    "Dense": "masking",
    "Dip": "masking",
    "DipCa": "masking",
    "Gate": "masking",
    "Glu": "masking",
    "MagnitudePruning": "masking",
    "Predictor": "masking",
    "Up": "masking",
    "ModelSpec": "model",
    "Policy": "policies",
    "ScorePolicy": "policies",
    "register_policy": "policies",
    "register_prefetcher": "prefetch",
    "HardwareProfile": "profile",
    "Result": "results",
    "Simulation": "simulation",
    "trace_statistics": "statistics",
    "sweep": "sweeps",
    "synthesize": "synthetic",
    "Trace": "trace",
    "TraceWriter": "trace",
    "tune": "tuning",
}
# Whole parts under their public names.
_FOLDERS = {"layouts": "layout", "plots": "plots", "policies": "policies"}

__all__ = [
    "BudgetRequest",
    "Cats",
    "Dense",
    "Dip",
    "DipCa",
    "DipsimError",
    "DipsimWarning",
    "Gate",
    "Glu",
    "HardwareProfile",
    "MagnitudePruning",
    "ModelSpec",
    "Policy",
    "Predictor",
    "Result",
    "ScorePolicy",
    "Simulation",
    "Trace",
    "TraceWriter",
    "Up",
    "layouts",
    "plots",
    "policies",
    "register_budget",
    "register_layout",
    "register_policy",
    "register_prefetcher",
    "sweep",
    "synthesize",
    "trace_statistics",
    "tune",
]
__version__ = version("dipsim")


def __getattr__(name: str) -> object:
    if name in _FOLDERS:
        return import_module(f"dipsim.{_FOLDERS[name]}")
    if name not in _HOMES:
        raise AttributeError(f"module 'dipsim' has no attribute '{name}'")
    return getattr(import_module(f"dipsim.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

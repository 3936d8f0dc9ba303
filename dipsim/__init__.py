"""dipsim: how fast, how accurate and how hungry is a large language model on a device too small for it?

    import dipsim as ds

Names are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dipsim import budgets, devices, layouts, loads, methods, plots, policies, prefetchers
    from dipsim.budgets import BudgetRequest, register_budget
    from dipsim.catalogue import figures, fitted, models, profiles
    from dipsim.devices import register_device
    from dipsim.engine.processes import ComputeDevice, DramDevice, FlashDevice
    from dipsim.errors import DipsimError, DipsimWarning
    from dipsim.estimation import Estimate, estimate
    from dipsim.estimation.devices import compare_devices
    from dipsim.hooks import compiled
    from dipsim.layouts import register_layout
    from dipsim.loads import register_load
    from dipsim.methods import (
        Cats,
        Dense,
        Dip,
        DipCa,
        Experts,
        ExpertsCa,
        Gate,
        Glu,
        MagnitudePruning,
        Method,
        Predictor,
        TopK,
        Up,
        register_method,
        top_k,
    )
    from dipsim.model import Mixture, ModelSpec
    from dipsim.model.groups import Group, mlp_group
    from dipsim.policies import Policy, ScorePolicy, register_policy
    from dipsim.prefetchers import register_prefetcher
    from dipsim.profile import HardwareProfile
    from dipsim.results import Result
    from dipsim.simulation import Simulation
    from dipsim.sweeps import sweep
    from dipsim.synthetic import synthesize
    from dipsim.trace import Trace, TraceWriter
    from dipsim.trace.statistics import trace_statistics
    from dipsim.tuning import tune
    from dipsim.version import __version__  # noqa: F401 - offered, but no part of `import *`

_HOMES = {
    "__version__": "version",
    "BudgetRequest": "budgets",
    "register_budget": "budgets",
    "figures": "catalogue",
    "fitted": "catalogue",
    "models": "catalogue",
    "profiles": "catalogue",
    "ComputeDevice": "engine.processes",
    "DramDevice": "engine.processes",
    "FlashDevice": "engine.processes",
    "DipsimError": "errors",
    "DipsimWarning": "errors",
    "Estimate": "estimation",
    "estimate": "estimation",
    "compare_devices": "estimation.devices",
    "compiled": "hooks",
    "register_layout": "layouts",
    "Cats": "methods",
    "Dense": "methods",
    "Dip": "methods",
    "DipCa": "methods",
    "Experts": "methods",
    "ExpertsCa": "methods",
    "Gate": "methods",
    "Glu": "methods",
    "MagnitudePruning": "methods",
    "Predictor": "methods",
    "Up": "methods",
    "Method": "methods",
    "TopK": "methods",
    "register_method": "methods",
    "top_k": "methods",
    "Group": "model.groups",
    "mlp_group": "model.groups",
    "register_load": "loads",
    "register_device": "devices",
    "Mixture": "model",
    "ModelSpec": "model",
    "Policy": "policies",
    "ScorePolicy": "policies",
    "register_policy": "policies",
    "register_prefetcher": "prefetchers",
    "HardwareProfile": "profile",
    "Result": "results",
    "Simulation": "simulation",
    "trace_statistics": "trace.statistics",
    "sweep": "sweeps",
    "synthesize": "synthetic",
    "Trace": "trace",
    "TraceWriter": "trace",
    "tune": "tuning",
}
# Whole parts; all but plots list what there is of their kind when called.
_FOLDERS = ("budgets", "devices", "layouts", "loads", "methods", "plots", "policies", "prefetchers")

__all__ = [
    "BudgetRequest",
    "Cats",
    "ComputeDevice",
    "Dense",
    "Dip",
    "DipCa",
    "DipsimError",
    "DipsimWarning",
    "DramDevice",
    "Estimate",
    "Experts",
    "ExpertsCa",
    "FlashDevice",
    "Gate",
    "Glu",
    "Group",
    "HardwareProfile",
    "MagnitudePruning",
    "Method",
    "Mixture",
    "ModelSpec",
    "Policy",
    "Predictor",
    "Result",
    "ScorePolicy",
    "Simulation",
    "TopK",
    "Trace",
    "TraceWriter",
    "Up",
    "budgets",
    "compare_devices",
    "compiled",
    "devices",
    "estimate",
    "figures",
    "fitted",
    "layouts",
    "loads",
    "methods",
    "mlp_group",
    "models",
    "plots",
    "policies",
    "prefetchers",
    "profiles",
    "register_budget",
    "register_device",
    "register_layout",
    "register_load",
    "register_method",
    "register_policy",
    "register_prefetcher",
    "sweep",
    "synthesize",
    "top_k",
    "trace_statistics",
    "tune",
]


def __getattr__(name: str) -> object:
    if name in _FOLDERS:
        return import_module(f"dipsim.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'dipsim' has no attribute '{name}'")
    return getattr(import_module(f"dipsim.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

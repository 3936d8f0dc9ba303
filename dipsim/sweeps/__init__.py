"""Many runs: what is varied, who carries them out, where results stand so that nothing is lost."""

from dipsim.sweeps.folder import read_results, read_specs
from dipsim.sweeps.spec import Spec
from dipsim.sweeps.sweeping import Plan, estimate_s, plan, sweep

__all__ = ["Plan", "Spec", "estimate_s", "plan", "read_results", "read_specs", "sweep"]

"""How accurate and how fast is a method on a real model: perplexity, density, hits and tok/s of the same masks."""

from dipsim.evaluation.adapt import adapt
from dipsim.evaluation.drift import Drift, drift
from dipsim.evaluation.evaluate import Evaluation, evaluate
from dipsim.evaluation.tasks import harness_model

__all__ = ["Drift", "Evaluation", "adapt", "drift", "evaluate", "harness_model"]

"""How accurate and how fast is a method on a real model: perplexity, density, hits and tok/s of the same masks."""

from dipsim.evaluation.drift import Drift, drift
from dipsim.evaluation.evaluate import Evaluation, evaluate

__all__ = ["Drift", "Evaluation", "drift", "evaluate"]

"""How accurate and how fast is a method on a real model: perplexity, density, hits and tok/s of the same masks."""

from dipsim.evaluation.adapt import adapt
from dipsim.evaluation.evaluate import Evaluation, evaluate

__all__ = ["Evaluation", "adapt", "evaluate"]

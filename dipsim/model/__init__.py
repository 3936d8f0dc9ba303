"""How large is a model: the shape and precision that decide its bytes and operations."""

from dipsim.model.mixture import Mixture
from dipsim.model.spec import Bits, ModelSpec

__all__ = ["Bits", "Mixture", "ModelSpec"]

"""How large is a model: the shape and precision that decide its bytes and operations."""

from dipsim.model.spec import Bits, Mixture, ModelSpec

__all__ = ["Bits", "Mixture", "ModelSpec"]

"""How large is a model: the shape and precision that decide its bytes and operations."""

from dipsim.model.spec import MOST_LAYERS, Bits, ModelSpec

__all__ = ["MOST_LAYERS", "Bits", "ModelSpec"]

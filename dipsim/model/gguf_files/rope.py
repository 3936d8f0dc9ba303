"""How are positions scaled in a model of a GGUF file: keys of a `config.json` beside those of `config_of`.

Only who runs the model asks. Divisors of the frequencies are stored as tensors, for llama 3 as well; transformers takes
such a list for any of these models under the name of longrope.
"""

from __future__ import annotations

from typing import Any

from dipsim.errors import DipsimError
from dipsim.model.gguf_files.file import GgufFile, dequantised

# Tensors that are read here, and are no weights of a model.
FREQUENCIES = ("rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight")
_SCALED = ("linear", "yarn")


def rope_of(file: GgufFile, config: dict[str, Any]) -> dict[str, Any]:
    """The keys.

    Args:
        file: the model.
        config: as `config_of` made it, its sizes checked.

    Raises:
        DipsimError: a kind of scaling that is not known, or only a part of each head is turned.
    """
    told = {
        key: file.metadata.get(f"{file.architecture}.rope.{key}")
        for key in ("dimension_count", "scaling.type", "scaling.factor", "scaling.original_context_length")
    }
    rope: dict[str, Any] = {}
    head_dim, n_turned = config["head_dim"], told["dimension_count"] or config["head_dim"]
    if n_turned != head_dim and config["model_type"] != "phi3":
        raise DipsimError(
            f"{file.where}: rope.dimension_count: got {n_turned} of a head's {head_dim}; it cannot be run, "
            "heads that are turned in part are known of phi3 alone"
        )
    if n_turned != head_dim:
        rope["partial_rotary_factor"] = n_turned / head_dim
    if original := told["scaling.original_context_length"]:
        rope["original_max_position_embeddings"] = original
    divisors = [dequantised(file.tensors[name]).tolist() for name in FREQUENCIES if name in file.tensors]
    kind = told["scaling.type"] or "none"
    if divisors:
        attention = file.metadata.get(f"{file.architecture}.rope.scaling.attn_factor")
        attention = 1.0 if len(divisors) == 1 else attention  # None: from the context that the model was made for
        scaling = {"rope_type": "longrope", "short_factor": divisors[0], "long_factor": divisors[-1]}
        return rope | {"rope_scaling": scaling | ({} if attention is None else {"attention_factor": attention})}
    if kind == "none":
        return rope
    if kind not in _SCALED:
        raise DipsimError(f"{file.where}: rope.scaling.type: got '{str(kind)[:40]}'; it cannot be run")
    return rope | {"rope_scaling": {"rope_type": kind, "factor": told["scaling.factor"]}}

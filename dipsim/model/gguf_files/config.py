"""Which `config.json` does a GGUF file's metadata stand for.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; what llama.cpp takes for granted where one is left out:
its src/llama-model.cpp.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from dipsim.errors import DipsimError
from dipsim.model.gguf_files.file import GgufFile
from dipsim.model.model_types import SLIDING
from dipsim.model.refusals import MOST_LAYERS, check_experts


class Architecture(NamedTuple):
    """What llama.cpp's name of an architecture stands for.

    Attributes:
        model_type: of the config.
        turns_pairs: whether rows of query and key are stored such that neighbours are turned together, where
            transformers turns the halves of a head.
        norms_add_one: whether weights of norms are stored with the one that transformers adds.
    """

    model_type: str
    turns_pairs: bool = False
    norms_add_one: bool = False


# Mistral is a llama there. Converters: llama.cpp's convert_hf_to_gguf.py.
ARCHITECTURES = {
    "llama": Architecture("llama", turns_pairs=True),
    "qwen2": Architecture("qwen2"),
    "qwen3": Architecture("qwen3"),
    "gemma": Architecture("gemma", norms_add_one=True),
    "gemma2": Architecture("gemma2", norms_add_one=True),
    "gemma3": Architecture("gemma3_text", norms_add_one=True),
    "phi3": Architecture("phi3"),
    "smollm3": Architecture("smollm3", turns_pairs=True),
    "granite": Architecture("granite", turns_pairs=True),
    "olmo2": Architecture("olmo2"),
}
_NEEDED = ("block_count", "embedding_length", "feed_forward_length", "attention.head_count")
_KEYS = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.sliding_window": "sliding_window",
    "context_length": "max_position_embeddings",
    "rope.freq_base": "rope_theta",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "embedding_scale": "embedding_multiplier",
    "residual_scale": "residual_multiplier",
    "attention.scale": "attention_multiplier",
    "logit_scale": "logits_scaling",
    "expert_count": "num_experts",
}
# Gemma's largest scale their queries by the heads' share of the hidden size, the others by head_dim.
_LAYERS_OF_27B = {"gemma2": 46, "gemma3": 62}


def config_of(file: GgufFile) -> dict[str, Any]:
    """Content of the `config.json`, but for how positions are scaled, see `gguf_files.rope`.

    Raises:
        DipsimError: no such architecture is known, or it is a mixture of experts, has no gated MLPs, or layers that
            differ.
    """
    architecture = file.architecture
    told = {key: file.metadata.get(f"{architecture}.{key}") for key in _KEYS}
    config: dict[str, Any] = {_KEYS[key]: _one(value, key, file) for key, value in told.items() if value is not None}
    check_experts(config, file.where)
    _check_gates(file, config)
    if architecture not in ARCHITECTURES:
        raise DipsimError(
            f"{file.where}: architecture '{architecture[:40]}' is not modelled; of GGUF files, these are: "
            f"{', '.join(ARCHITECTURES)}"
        )
    for key in _NEEDED:
        if type(config.get(_KEYS[key])) is not int:
            raise DipsimError(f"{file.where}: {architecture}.{key}: got {config.get(_KEYS[key])}; must be a count")
    if config["num_hidden_layers"] > MOST_LAYERS:
        got = config["num_hidden_layers"]
        raise DipsimError(f"{file.where}: num_hidden_layers: got {got}; must be at most {MOST_LAYERS}")
    hidden_size, n_heads = config["hidden_size"], config["num_attention_heads"]
    config.setdefault("num_key_value_heads", n_heads)
    if n_heads > 0 and hidden_size % n_heads == 0:
        config.setdefault("head_dim", hidden_size // n_heads)
    if n_heads > 0 and "head_dim" in config:
        is_27b = config["num_hidden_layers"] == _LAYERS_OF_27B.get(architecture)
        config["query_pre_attn_scalar"] = hidden_size // n_heads if is_27b else config["head_dim"]
    if "token_embd.weight" not in file.tensors:
        raise DipsimError(f"{file.where}: tensor token_embd.weight is missing")
    return config | {
        "model_type": ARCHITECTURES[architecture].model_type,
        "vocab_size": file.tensors["token_embd.weight"].shape[0],
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "rope_theta": config.get("rope_theta", 10000.0),
        **_layer_types(file, config["num_hidden_layers"]),
    }


def _one(value: Any, key: str, file: GgufFile) -> int | float:
    """A number, or the one that a list gives every layer."""
    values = value if isinstance(value, list) else [value]
    if not values or any(type(one) not in (int, float) or not math.isfinite(one) for one in values):
        raise DipsimError(f"{file.where}: {file.architecture}.{key}: got {str(value)[:40]}; must be a number")
    if len(set(values)) > 1:
        raise DipsimError(
            f"{file.where}: {file.architecture}.{key}: got {str(values)[:40]}...; layers that differ are not modelled"
        )
    one: int | float = values[0]
    return one


def _check_gates(file: GgufFile, config: dict[str, Any]) -> None:
    up = file.tensors.get("blk.0.ffn_up.weight")
    if up is None:
        raise DipsimError(f"{file.where}: has no blk.0.ffn_up.weight; its layers are not attention and a gated MLP")
    if "blk.0.ffn_gate.weight" not in file.tensors and up.shape[0] != 2 * config.get("intermediate_size", 0):
        raise DipsimError(f"{file.where}: MLPs without a gate are not modelled")


def _layer_types(file: GgufFile, n_layers: int) -> dict[str, Any]:
    """Which layers slide, where the file says so: each, or how many share one that sees every position."""
    pattern = file.metadata.get(f"{file.architecture}.attention.sliding_window_pattern")
    if pattern is None:
        return {}
    if type(pattern) is int and pattern > 0:
        pattern = [bool((layer + 1) % pattern) for layer in range(n_layers)]
    if not isinstance(pattern, list) or len(pattern) != n_layers:
        raise DipsimError(f"{file.where}: sliding_window_pattern: got {str(pattern)[:40]}; must be one for each layer")
    return {"layer_types": [SLIDING if slides else "full_attention" for slides in pattern]}

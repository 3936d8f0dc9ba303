"""GGUF files of models of transformers, as llama.cpp's converter (convert_hf_to_gguf.py) writes them.

Names and the order of rows stand here by hand, so that what reads them is not held against itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Kind
from gguf.quants import dequantize, quantize
from numpy.typing import NDArray

_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_FOUR_NORMS = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
SIZES: dict[str, Any] = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 260,
    "max_position_embeddings": 512,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
ARCHITECTURE = {"gemma3_text": "gemma3"}


def made(model_type: str, **others: Any) -> Any:
    """A small model of random weights, whose norms are not all alike."""
    torch.manual_seed(0)
    config = transformers.CONFIG_MAPPING[model_type].from_dict({"model_type": model_type} | SIZES | others)
    model = transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(torch.randn_like(weight) * 0.1 + ("norm" in name and "gemma" not in model_type))
    return model


def write(
    path: Path,
    model: Any,
    kinds: Kind | Mapping[str, Kind] = Kind.F32,
    metadata: Mapping[str, Any] | None = None,
    tokenizer: bool = True,
    bos: bool = False,
    tensors: Mapping[str, NDArray[np.float32]] | None = None,
    n_parts: int = 1,
) -> Path:
    """Writes it, and puts the weights that are then in the file into the model.

    Args:
        path: where.
        model: of transformers.
        kinds: quantisation of all matrices, or by a part of the tensor's name; float32 for others.
        metadata: further keys, with or in place of those that belong to the architecture; None leaves one out.
        tokenizer: whether it has one: a letter for every byte and one merge.
        bos: whether that puts token 258 in front.
        tensors: further ones.
        n_parts: files to split it into.
    """
    architecture = ARCHITECTURE.get(model.config.model_type, model.config.model_type)
    stored: dict[str, tuple[NDArray[Any], Kind]] = {}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            own = stored_name(name, architecture)
            numbers = _as_stored(own, weight.detach().numpy(), architecture, model.config)
            by_part = {"": kinds} if isinstance(kinds, Kind) else kinds
            kind = next((kind for part, kind in by_part.items() if part in own and numbers.ndim > 1), Kind.F32)
            packed = numbers if kind == Kind.F32 else quantize(numbers, kind)
            stored[own] = packed, kind
            rounded = dequantize(packed, kind).reshape(numbers.shape)
            weight.copy_(torch.from_numpy(_as_wanted(own, rounded, architecture, model.config).copy()))
    stored |= {name: (numbers, Kind.F32) for name, numbers in (tensors or {}).items()}
    keys = metadata_of(model.config, architecture) | dict(metadata or {})
    names = list(stored)
    for part in range(n_parts):
        file = path if n_parts == 1 else path.with_name(f"{path.stem}-{part + 1:05}-of-{n_parts:05}.gguf")
        writer = gguf.GGUFWriter(file, architecture)
        if part == 0:
            if tokenizer:
                _add_tokenizer(writer, bos)
            for key, value in keys.items():
                _add(writer, key, value)
        if n_parts > 1:
            writer.add_uint16("split.no", part)
            writer.add_uint16("split.count", n_parts)
            writer.add_int32("split.tensors.count", len(names))
        for name in names[part::n_parts]:
            packed, kind = stored[name]
            writer.add_tensor(name, packed, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return path


def stored_name(name: str, architecture: str) -> str:
    """A weight's name in the file."""
    parts, leaf = name.rpartition(".")[::2]
    known = _NAMES | (_FOUR_NORMS if architecture in ("gemma2", "gemma3", "olmo2") else {})
    if not parts.startswith("model.layers."):
        return f"{known[parts]}.{leaf}"
    _, _, layer, rest = parts.split(".", 3)
    return f"blk.{layer}.{known[rest]}.{leaf}"


def metadata_of(config: Any, architecture: str) -> dict[str, Any]:
    """What the converter says of a config."""
    rope = config.rope_parameters
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    told = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": float(rope.get("full_attention", rope)["rope_theta"]),
    }
    if architecture in ("gemma", "gemma2", "gemma3", "qwen3"):
        told |= {"attention.key_length": head_dim, "attention.value_length": head_dim}
    if getattr(config, "sliding_window", None):
        told["attention.sliding_window"] = config.sliding_window
    if architecture == "gemma2":
        told |= {key: getattr(config, key) for key in ("attn_logit_softcapping", "final_logit_softcapping")}
    if architecture == "granite":
        scales = {"embedding": "embedding_multiplier", "residual": "residual_multiplier", "logit": "logits_scaling"}
        told |= {f"{key}_scale": float(getattr(config, own)) for key, own in scales.items()}
        told["attention.scale"] = config.attention_multiplier
    if architecture in ("llama", "phi3"):
        told["rope.dimension_count"] = head_dim
    return {f"{architecture}.{key}": value for key, value in told.items()}


def _as_stored(name: str, numbers: NDArray[Any], architecture: str, config: Any) -> NDArray[Any]:
    if architecture in ("llama", "smollm3", "granite") and name.endswith(("attn_q.weight", "attn_k.weight")):
        n_heads = config.num_attention_heads if "attn_q" in name else config.num_key_value_heads
        halves = numbers.reshape(n_heads, 2, numbers.shape[0] // n_heads // 2, *numbers.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(numbers.shape))
    return numbers + 1 if "gemma" in architecture and name.endswith("norm.weight") else numbers.copy()


def _as_wanted(name: str, numbers: NDArray[Any], architecture: str, config: Any) -> NDArray[Any]:
    """The way back, row by row."""
    order = _as_stored(name, np.arange(len(numbers))[:, None], architecture, config)[:, 0]
    if "gemma" in architecture and name.endswith("norm.weight"):
        return numbers - 1
    back = np.empty_like(numbers)
    back[order] = numbers
    return back


def _add(writer: Any, key: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_uint32(key, value)


def _add_tokenizer(writer: Any, bos: bool) -> None:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    tokens = [*bytes_to_unicode().values(), "he", "lo", "<s>", "</s>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 258 + [3, 3])
    writer.add_token_merges(["h e", "l o"])
    writer.add_bos_token_id(258)
    writer.add_eos_token_id(259)
    writer.add_add_bos_token(bos)

"""Sizes of mixtures from configs, presets and GGUF files: equal to the weights of the models' own classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf import GGMLQuantizationType as Kind
from gguf.quants import quantize

from dipsim import DipsimError, ModelSpec
from dipsim.model.config import sizes_of
from dipsim.model.mixture_types import MIXTURE_TYPES
from dipsim.sparsify.architectures import sizes_of_config

SIZES: dict[str, Any] = {
    **{"num_hidden_layers": 5, "hidden_size": 64, "intermediate_size": 88, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "vocab_size": 99, "num_experts_per_tok": 2},
}
QWEN = [{}, {"mlp_only_layers": [1]}, {"decoder_sparse_step": 2, "moe_intermediate_size": 24, "head_dim": 24}]
LATENT = [
    {"first_k_dense_replace": 2},
    {"q_lora_rank": None, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 12},
]
GEMMA: dict[str, Any] = {
    **{"enable_moe_block": True, "hidden_size_per_layer_input": 0, "num_experts": 8, "top_k_experts": 2},
    **{"moe_intermediate_size": 24, "global_head_dim": 40},
}
OTHERS: dict[str, list[dict[str, Any]]] = {
    **{"qwen2_moe": QWEN[:2], "qwen3_moe": QWEN, "deepseek_v2": LATENT, "deepseek_v3": LATENT},
    **{"granitemoeshared": [{}, {"shared_intermediate_size": 40}]},
    "gemma4_text": [GEMMA, *(GEMMA | {"attention_k_eq_v": k, "num_global_key_value_heads": 1} for k in (True, False))],
    "llama4_text": [{}, {"interleave_moe_layer_step": 2, "intermediate_size_mlp": 72}, {"moe_layers": [1, 2]}],
}
CONFIGS = [{"model_type": name} | SIZES | own for name in MIXTURE_TYPES for own in OTHERS.get(name, [{}])]


def weights_of(config: dict[str, Any]) -> int:
    """Weights of the model's own classes; norms, biases and the one row that weighs shared experts are left out."""
    made = transformers.CONFIG_MAPPING[config["model_type"]].from_dict(config | {"pad_token_id": 0})
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(made)
    return sum(
        weight.numel()
        for name, weight in model.named_parameters()
        if weight.ndim > 1 and not any(part in name for part in ("norm", "bias", "shared_expert_gate"))
    )


def counted(spec: ModelSpec) -> int:
    embedding = 0 if spec.tied_embeddings else spec.lm_head_weights
    return spec.mlp_weights + int(spec.pinned_weights.sum()) + spec.lm_head_weights + embedding


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config["model_type"])
def test_weights_are_counted_as_the_models_own_classes_have_them(config: dict[str, Any]) -> None:
    assert counted(ModelSpec.from_config(config, "m")) == weights_of(config)


@pytest.mark.parametrize("name", MIXTURE_TYPES)
def test_what_the_table_says_of_omitted_keys_is_what_the_classes_say(name: str) -> None:
    """A class writes every key out; what is asked for here cannot be left out."""
    asked = {"deepseek_v2": {"num_experts_per_tok": 2}, "gemma4_text": GEMMA}.get(name, {})
    for more in ({}, {"num_hidden_layers": 7}):
        config = {"model_type": name} | asked | more
        made = transformers.CONFIG_MAPPING[name].from_dict(config)
        assert sizes_of(config, "m") == sizes_of_config(made, "m")
        assert sizes_of(config, "m")["activation"] == (
            getattr(made, "hidden_activation", None) or getattr(made, "hidden_act", None)
        )


@pytest.mark.parametrize(("name", "inner"), [("gemma4", "gemma4_text"), ("llama4", "llama4_text")])
def test_models_that_also_see_have_the_sizes_of_their_text_model(name: str, inner: str) -> None:
    text = SIZES | (GEMMA if name == "gemma4" else {})
    whole = ModelSpec.from_config({"model_type": name, "text_config": text}, "m")
    assert whole == ModelSpec.from_config({"model_type": inner} | text, "m")


# Weights in billions as their publishers count them, experts that a token uses, bytes of keys and values a position.
PUBLISHED = {
    "mixtral-8x7b": (46.7, 2, 32 * 2 * 8 * 128),
    "qwen1.5-moe-a2.7b": (14.3, 4, 24 * 2 * 16 * 128),
    "qwen3-30b-a3b": (30.5, 8, 48 * 2 * 4 * 128),
    "olmoe-1b-7b": (6.92, 8, 16 * 2 * 16 * 128),
    "gpt-oss-20b": (20.9, 4, 24 * 2 * 8 * 64),
    "gpt-oss-120b": (116.8, 4, 36 * 2 * 8 * 64),
    "phi-3.5-moe": (41.9, 2, 32 * 2 * 8 * 128),
    "granite-3.1-1b-a400m": (1.33, 8, 24 * 2 * 8 * 64),
    "granite-3.1-3b-a800m": (3.3, 8, 32 * 2 * 8 * 64),
    "deepseek-v2-lite": (15.7, 6, 27 * (512 + 64)),
    "gemma-4-26b-a4b": (25.2, 8, 25 * 2 * 8 * 256 + 5 * 2 * 2 * 512),
    "llama-4-scout": (107.8, 1, 48 * 2 * 8 * 128),
}


def test_presets_are_those_of_their_publishers() -> None:
    presets = {name: spec for name, spec in ModelSpec.presets().items() if spec.mixture}
    assert presets.keys() == PUBLISHED.keys()
    for name, (billions, per_token, kv_bytes) in PUBLISHED.items():
        spec = presets[name]
        assert counted(spec) / 1e9 == pytest.approx(billions, rel=4e-3), name
        assert spec.mixture is not None
        assert spec.mixture.experts_per_token == per_token
        assert spec.kv_bytes_per_position == kv_bytes  # a byte a number


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "mixtral", "num_local_experts": 0}, "num_local_experts: got 0; must be a count"),
        ({"model_type": "mixtral", "num_experts_per_tok": 9}, "num_experts_per_tok: got 9; there are 8 experts"),
        ({"model_type": "deepseek_v2"}, "num_experts_per_tok: got None"),
        ({"model_type": "deepseek_v3", "first_k_dense_replace": 61}, "got experts that no layer of 61 has"),
        ({"model_type": "deepseek_v3", "kv_lora_rank": "x"}, "kv_lora_rank: got 'x'"),
        ({"model_type": "qwen3_moe", "use_sliding_window": True}, "use_sliding_window: got True; not modelled of"),
        ({"model_type": "qwen3_moe", "mlp_only_layers": 3}, "mlp_only_layers: got 3; must be a list"),
        ({"model_type": "gemma4_text", "enable_moe_block": True}, "hidden_size_per_layer_input: got 256; not modelled"),
        (
            {"model_type": "gpt_oss", "layer_types": ["full_attention"]},
            "layer_types: got .*must be 'sliding_attention'",
        ),
        ({"model_type": "olmoe", "num_attention_heads": 7}, "head_dim: is missing, and hidden_size 2048"),
        ({"model_type": "dbrx", "moe_num_experts": 16}, "modelled of these types: mixtral, qwen2_moe"),
    ],
)
def test_configs_that_cannot_be_are_refused_in_one_line(config: dict[str, Any], message: str) -> None:
    with pytest.raises(DipsimError, match=message) as caught:
        ModelSpec.from_config(config, "m")
    assert "\n" not in str(caught.value)


# GGUF


def stored(shape: tuple[int, ...], kind: Kind) -> tuple[np.ndarray, Kind]:
    numbers = np.zeros(shape, np.float32)
    return (numbers if kind == Kind.F32 else quantize(numbers, kind)), kind


def write(path: Path, architecture: str, metadata: dict[str, Any], tensors: dict[str, tuple[np.ndarray, Kind]]) -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in metadata.items():
        add = writer.add_array if isinstance(value, list) else writer.add_uint32
        add(f"{architecture}.{key}", value)
    for name, (packed, kind) in tensors.items():
        writer.add_tensor(name, packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


METADATA: dict[str, Any] = {
    **{"block_count": 3, "embedding_length": 64, "attention.head_count": 4, "attention.head_count_kv": 2},
    **{"expert_count": 4, "expert_used_count": 2, "feed_forward_length": 96},
}


def tensors_of(down: tuple[Kind, ...] = (Kind.Q8_0, Kind.Q4_0), fused: bool = False) -> dict[str, Any]:
    """Three layers: an MLP of 96, then 4 experts of 32 beside a shared one of 64; head_dim 16."""
    q4 = Kind.Q4_0
    found = {"token_embd.weight": stored((99, 64), Kind.Q8_0), "output.weight": stored((99, 64), Kind.Q8_0)}
    for layer in range(3):
        own = {"attn_q": stored((64, 64), q4), "attn_k": stored((32, 64), q4), "attn_v": stored((32, 64), q4)}
        own |= {"attn_output": stored((64, 64), q4), "attn_norm": stored((64,), Kind.F32)}
        if layer == 0:
            own |= {"ffn_gate": stored((96, 64), q4), "ffn_up": stored((96, 64), q4), "ffn_down": stored((64, 96), q4)}
        else:
            gates = ["ffn_gate_up"] if fused else ["ffn_gate", "ffn_up"]
            own |= {f"{name}_exps": stored((4, 32 * (1 + fused), 64), q4) for name in gates}
            own |= {"ffn_down_exps": stored((4, 64, 32), down[layer - 1]), "ffn_gate_inp": stored((4, 64), Kind.F32)}
            own |= {"ffn_gate_shexp": stored((64, 64), q4), "ffn_up_shexp": stored((64, 64), q4)}
            own |= {"ffn_down_shexp": stored((64, 64), q4)}
        found |= {f"blk.{layer}.{name}.weight": one for name, one in own.items()}
    return found


@pytest.mark.parametrize("fused", [False, True])
def test_a_gguf_file_says_how_many_bytes_an_expert_takes_in_each_layer(fused: bool, tmp_path: Path) -> None:
    spec = ModelSpec.load(write(tmp_path / "m.gguf", "qwen2moe", METADATA, tensors_of(fused=fused)))
    own = spec.mixture
    assert own is not None
    assert (own.n_experts, own.experts_per_token, own.expert_size, own.shared_expert_size) == (4, 2, 32, 64)
    # Blocks of 32 weights: Q4_0 has 18 bytes of them, Q8_0 34.
    gates, weights = 2 * 32 * 64 * 18 / 32, 64 * 32
    assert own.expert_bytes == [0, gates + weights * 34 / 32, gates + weights * 18 / 32]
    assert own.dense_layers == [0]
    assert (spec.n_layers, spec.hidden_size, spec.intermediate_size, spec.vocab_size) == (3, 64, 96, 99)
    assert (spec.n_heads, spec.n_kv_heads, spec.head_dim, spec.attention) == (4, 2, 16, None)
    stored_bytes = {name: one.nbytes for name, (one, _) in tensors_of(fused=fused).items()}
    assert spec.mlp_bytes == pytest.approx(
        sum(n for name, n in stored_bytes.items() if "ffn_" in name and "_inp" not in name)
    )
    pinned = sum(n for name, n in stored_bytes.items() if ("attn_" in name and "norm" not in name) or "_inp" in name)
    assert spec.pinned_bytes == pytest.approx(pinned + stored_bytes["output.weight"])


def test_a_gguf_file_of_latent_attention_keeps_what_is_compressed(tmp_path: Path) -> None:
    tensors = {name: one for name, one in tensors_of().items() if not name.endswith(("attn_k.weight", "attn_v.weight"))}
    for layer in range(3):
        tensors[f"blk.{layer}.attn_kv_a_mqa.weight"] = stored((24 + 8, 64), Kind.F32)
        tensors[f"blk.{layer}.attn_kv_b.weight"] = stored((4 * 32, 32), Kind.F32)
    path = write(tmp_path / "m.gguf", "deepseek2", METADATA | {"attention.key_length": 24}, tensors)
    spec = ModelSpec.load(path)
    assert spec.kv_bytes_per_position == 3 * 32
    assert spec.attention is not None
    assert spec.attention[0].weights == 2 * 64 * 64 + 32 * 64 + 128 * 32


def test_a_gguf_file_whose_heads_differ_by_layer(tmp_path: Path) -> None:
    tensors = tensors_of()
    del tensors["blk.2.attn_v.weight"]  # keys serve as values
    tensors["blk.2.attn_k.weight"] = stored((64, 64), Kind.F32)
    keys = {"attention.sliding_window": 7, "attention.sliding_window_pattern": [True, True, False]}
    spec = ModelSpec.load(write(tmp_path / "m.gguf", "gemma4", METADATA | keys, tensors))
    assert (spec.sliding_window, spec.sliding_layers) == (7, [0, 1])
    assert spec.attention is not None
    assert [own.kv_width for own in spec.attention] == [64, 64, 128]
    assert spec.kv_bytes(20).tolist() == [7 * 64, 7 * 64, 20 * 128]


def without(part: str) -> dict[str, Any]:
    return {name: one for name, one in tensors_of().items() if part not in name}


@pytest.mark.parametrize(
    ("metadata", "tensors", "message"),
    [
        ({"expert_used_count": 5}, tensors_of(), "experts_per_token \\(5\\) must be at most n_experts"),
        ({"expert_count": 3}, tensors_of(), "layer 1: experts are .*of 3 experts of 64"),
        ({"expert_count": 0}, tensors_of(), "expert_count: got 0; must be a count"),
        ({}, without("_exps"), "says that it has 4 experts, and has no tensor of any"),
        ({}, without("ffn_gate_inp"), "layer 1: experts are .*a router and gate"),
        ({}, without("ffn_up_exps"), "layer 1: experts are "),
        ({}, without("ffn_up_shexp"), "tensor ffn_up_shexp is None"),
        ({}, without("0.ffn_"), "layers without experts have MLPs of widths \\[0\\]"),
        ({}, without("attn_k"), "layer 0 has no tensor of keys"),
        ({}, without("token_embd"), "tensor token_embd.weight is missing"),
        ({"block_count": 2}, tensors_of(), "tensor blk.2.attn_q.weight: neither attention, router"),
        ({}, tensors_of() | {"blk.0.ssm_in.weight": stored((64, 64), Kind.F32)}, "ssm_in.weight: neither attention"),
    ],
)
def test_gguf_files_that_lie_are_refused_in_one_line(
    metadata: dict[str, Any], tensors: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "m.gguf", "qwen2moe", METADATA | metadata, tensors)
    with pytest.raises(DipsimError, match=message) as caught:
        ModelSpec.load(path)
    assert "\n" not in str(caught.value)

"""Which models are known by name."""

from __future__ import annotations

from typing import Any

from dipsim.model.mixture_config import sizes_of_mixture

# name: layers, hidden, intermediate, (heads, KV heads, head dim), vocabulary, tied, activation, (window, sliding
# layers): each model's published config.json. phi-3-medium and -mini are the 128k variants, whose windows reach over
# all of their positions (those of the 4k ones: 2047), mistral-7b is v0.2 (v0.1 has a window of 4096).
_ROWS: dict[str, tuple[Any, ...]] = {
    "phi-3-medium": (40, 5120, 17920, (40, 10, 128), 32064),
    "phi-3-mini": (32, 3072, 8192, (32, 32, 96), 32064),
    "llama-3-8b": (32, 4096, 14336, (32, 8, 128), 128256),
    "mistral-7b": (32, 4096, 14336, (32, 8, 128), 32000),
    "llama-3.2-1b": (16, 2048, 8192, (32, 8, 64), 128256, True),
    "llama-3.2-3b": (28, 3072, 8192, (24, 8, 128), 128256, True),
    "qwen3-0.6b": (28, 1024, 3072, (16, 8, 128), 151936, True),
    "qwen3-1.7b": (28, 2048, 6144, (16, 8, 128), 151936, True),
    "qwen3-4b": (36, 2560, 9728, (32, 8, 128), 151936, True),
    "gemma-3-1b": (
        *(26, 1152, 6912, (4, 1, 256), 262144, True, "gelu_pytorch_tanh"),
        (512, [layer for layer in range(26) if layer % 6 != 5]),
    ),
    "phi-4-mini": (32, 3072, 8192, (24, 8, 128), 200064, True),
    "smollm2-1.7b": (24, 2048, 8192, (32, 32, 64), 49152, True),
}

# Mixtures of experts: what their published config.json say of sizes, in the config's own words.
_MIXTURES: dict[str, dict[str, Any]] = {
    "mixtral-8x7b": {"model_type": "mixtral"},
    "qwen1.5-moe-a2.7b": {"model_type": "qwen2_moe"},
    "qwen3-30b-a3b": {"model_type": "qwen3_moe", "num_hidden_layers": 48, "head_dim": 128},
    "olmoe-1b-7b": {"model_type": "olmoe", "intermediate_size": 1024},
    "gpt-oss-20b": {"model_type": "gpt_oss", "num_hidden_layers": 24, "num_local_experts": 32},
    "gpt-oss-120b": {"model_type": "gpt_oss"},
    "phi-3.5-moe": {"model_type": "phimoe", "sliding_window": 131072},
    "granite-3.1-1b-a400m": {
        **{"model_type": "granitemoe", "num_hidden_layers": 24, "hidden_size": 1024, "intermediate_size": 512},
        **{"num_attention_heads": 16, "num_key_value_heads": 8, "num_local_experts": 32, "num_experts_per_tok": 8},
        **{"vocab_size": 49155, "tie_word_embeddings": True},
    },
    "granite-3.1-3b-a800m": {
        **{"model_type": "granitemoe", "num_hidden_layers": 32, "hidden_size": 1536, "intermediate_size": 512},
        **{"num_attention_heads": 24, "num_key_value_heads": 8, "num_local_experts": 40, "num_experts_per_tok": 8},
        **{"vocab_size": 49155, "tie_word_embeddings": True},
    },
    "deepseek-v2-lite": {
        **{"model_type": "deepseek_v2", "num_hidden_layers": 27, "hidden_size": 2048, "intermediate_size": 10944},
        **{"num_attention_heads": 16, "q_lora_rank": None, "moe_intermediate_size": 1408, "num_experts_per_tok": 6},
        **{"first_k_dense_replace": 1},
    },
    "gemma-4-26b-a4b": {
        **{"model_type": "gemma4_text", "enable_moe_block": True, "hidden_size": 2816, "intermediate_size": 2112},
        **{"num_attention_heads": 16, "num_key_value_heads": 8, "num_global_key_value_heads": 2},
        **{"attention_k_eq_v": True, "sliding_window": 1024, "hidden_size_per_layer_input": 0},
        **{"num_experts": 128, "top_k_experts": 8, "moe_intermediate_size": 704},
    },
    "llama-4-scout": {"model_type": "llama4_text"},
}


def _named(
    name: str,
    n_layers: int,
    hidden_size: int,
    intermediate_size: int,
    heads: tuple[int, int, int],
    vocab_size: int,
    tied_embeddings: bool = False,
    activation: str = "silu",
    sliding: tuple[int | None, list[int]] = (None, []),
) -> dict[str, Any]:
    return {
        "name": name,
        "n_layers": n_layers,
        "hidden_size": hidden_size,
        "intermediate_size": intermediate_size,
        "n_heads": heads[0],
        "n_kv_heads": heads[1],
        "head_dim": heads[2],
        "vocab_size": vocab_size,
        "tied_embeddings": tied_embeddings,
        "activation": activation,
        "sliding_window": sliding[0],
        "sliding_layers": sliding[1],
    }


# Name -> what a ModelSpec holds.
PRESETS: dict[str, dict[str, Any]] = {name: _named(name, *row) for name, row in _ROWS.items()}
PRESETS |= {name: {"name": name} | sizes_of_mixture(config, name) for name, config in _MIXTURES.items()}

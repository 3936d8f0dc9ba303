"""What do the configs of mixtures of experts say: where each type has its numbers, and what its omitted keys mean.

Each row is what the type's own class in transformers says; a test holds every row equal to it. Published configs differ
in how they name experts, not in what they mean.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from dipsim.model.model_types import ModelType

_TANH = "gelu_pytorch_tanh"
# The number of experts goes by these names.
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")


class MixtureType(NamedTuple):
    """What a key means where it is omitted, beside those that models of MLPs have too.

    Attributes:
        sizes: as of a model of MLPs.
        n_experts: experts of a layer; None where a config must say.
        per_token: experts that a token uses; None where a config must say.
        per_token_key: the key that says so.
        expert_size: width of an expert; None where a config must say.
        expert_size_key: the key that says so.
        shared_key, shared: the key of what every token uses beside its experts, and its default: a width, or a number
            of experts where the key counts them.
        dense_size_key: the key of a plain MLP's width.
        attention: `heads`, `latent` (one vector for keys and values of all heads) or `by layer` (heads of two sizes).
    """

    sizes: ModelType
    n_experts: int | None
    per_token: int | None
    expert_size: int | None
    expert_size_key: str = "intermediate_size"
    shared_key: str | None = None
    shared: int = 0
    per_token_key: str = "num_experts_per_tok"  # noqa: S105 - no password
    dense_size_key: str = "intermediate_size"
    attention: str = "heads"


def _deepseek(sizes: ModelType, n_experts: int, per_token: int | None, expert_size: int, shared: int) -> MixtureType:
    own = MixtureType(sizes, n_experts, per_token, expert_size, "moe_intermediate_size", "n_shared_experts", shared)
    return own._replace(attention="latent")


_QWEN = "moe_intermediate_size"
MIXTURE_TYPES: dict[str, MixtureType] = {
    "mixtral": MixtureType(ModelType(32, 4096, 14336, 32, 8, None, 32000, period=0), 8, 2, 14336),
    "qwen2_moe": MixtureType(
        *(ModelType(24, 2048, 5632, 16, 16, None, 151936), 60, 4, 1408, _QWEN),
        *("shared_expert_intermediate_size", 5632),
    ),
    "qwen3_moe": MixtureType(ModelType(24, 2048, 6144, 32, 4, None, 151936), 128, 8, 768, _QWEN),
    "olmoe": MixtureType(ModelType(16, 2048, 2048, 16, None, None, 50304), 64, 8, 2048),
    "gpt_oss": MixtureType(ModelType(36, 2880, 2880, 64, 8, 64, 201088, sliding_window=128, period=2), 128, 4, 2880),
    "granitemoe": MixtureType(ModelType(32, 4096, 11008, 32, None, None, 32000), 8, 2, 11008),
    "granitemoeshared": MixtureType(
        *(ModelType(32, 4096, 11008, 32, None, None, 32000), 8, 2, 11008, "intermediate_size"),
        "shared_intermediate_size",
    ),
    "phimoe": MixtureType(ModelType(32, 4096, 6400, 32, 8, None, 32064, period=0), 16, 2, 6400),
    "deepseek_v2": _deepseek(ModelType(32, 4096, 11008, 32, None, None, 102400), 64, None, 1407, 2),
    "deepseek_v3": _deepseek(ModelType(61, 7168, 18432, 128, 128, None, 129280), 256, 8, 2048, 1),
    "gemma4_text": MixtureType(
        ModelType(30, 2304, 9216, 8, 4, 256, 262144, True, _TANH, 512, 6, activation_key="hidden_activation"),
        *(None, None, None, "moe_intermediate_size", "intermediate_size", 9216, "top_k_experts"),
        attention="by layer",
    ),
    "llama4_text": MixtureType(
        ModelType(48, 5120, 8192, 40, 8, 128, 202048, sliding_window=8192, period=4),
        *(16, 1, 8192, "intermediate_size", "intermediate_size", 8192),
        dense_size_key="intermediate_size_mlp",
    ),
}
# Sizes of DeepSeek's latent attention, and of which type how many layers have an MLP before those with experts.
LATENT = {"q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
FIRST_DENSE = {"deepseek_v2": 0, "deepseek_v3": 3}
LLAMA4_DENSE_SIZE = 16384


def is_mixture(config: dict[str, Any]) -> bool:
    """Whether a config is of a type in the table, and has experts."""
    kind = config.get("model_type")
    return kind in MIXTURE_TYPES and (kind != "gemma4_text" or bool(config.get("enable_moe_block")))

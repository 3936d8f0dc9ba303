"""Small mixtures of experts with random weights, and their routers and experts by hand: the formulas of their papers
and model cards, token by token, without transformers' code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

from dipsim.sparsify.loading import LoadedModel
from dipsim.sparsify.routers import find_routers

N_EXPERTS, PER_TOKEN = 8, 3
_SHAPE = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
    "num_experts_per_tok": PER_TOKEN,
}
_LATENT = {
    "kv_lora_rank": 6,
    "q_lora_rank": None,
    "qk_nope_head_dim": 4,
    "qk_rope_head_dim": 4,
    "v_head_dim": 4,
    "num_key_value_heads": 4,
}
_DEEPSEEK = _LATENT | {"moe_intermediate_size": 16, "n_routed_experts": N_EXPERTS, "n_shared_experts": 2}
Weigh = Callable[[Tensor, Tensor, nn.Module], Tensor]  # logits and chosen [expert] -> weights [expert], 0 elsewhere


def of_all(logits: Tensor, chosen: Tensor, router: nn.Module) -> Tensor:
    """Softmax over all experts."""
    return logits.softmax(0) * chosen


def of_chosen(logits: Tensor, chosen: Tensor, router: nn.Module) -> Tensor:
    """Softmax over the chosen ones."""
    return torch.where(chosen, logits.exp(), 0) / logits.exp()[chosen].sum()


def of_deepseek_v3(logits: Tensor, chosen: Tensor, router: nn.Module) -> Tensor:
    """Sigmoids, shares of those chosen, times 2.5; the bias decides nothing here."""
    weights = torch.where(chosen, 1 / (1 + torch.exp(-logits)), 0)
    return 2.5 * weights / weights.sum()


def of_gemma4(logits: Tensor, chosen: Tensor, router: nn.Module) -> Tensor:
    return of_chosen(logits, chosen, router) * router.per_expert_scale.float()


def of_llama4(logits: Tensor, chosen: Tensor, router: nn.Module) -> Tensor:
    return torch.where(chosen, 1 / (1 + torch.exp(-logits)), 0)


def softmax_scores(logits: Tensor, router: nn.Module) -> Tensor:
    return logits.softmax(0)


def sigmoid_scores(logits: Tensor, router: nn.Module) -> Tensor:
    return 1 / (1 + torch.exp(-logits))


def best_half(scores: Tensor, worth: Callable[[Tensor], float]) -> Tensor:
    """Two groups of experts, of which a token may use the one that is worth more; the other's scores are 0."""
    groups = scores.view(2, -1)
    best = int(worth(groups[1]) > worth(groups[0]))
    return torch.where(torch.arange(2)[:, None] == best, groups, 0).flatten()


def group_scores(logits: Tensor, router: nn.Module) -> Tensor:
    return best_half(logits.softmax(0), lambda group: float(group.max()))


def of_groups(logits: Tensor, chosen: Tensor, router: nn.Module) -> Tensor:
    """Experts that are ruled out weigh nothing, whoever chooses them."""
    return group_scores(logits, router) * chosen


def biased_scores(logits: Tensor, router: nn.Module) -> Tensor:
    """The bias, less its mean over the group that counts, is added to the sigmoids; below 0 is 0."""
    bias = router.e_score_correction_bias.float()
    allowed = best_half(sigmoid_scores(logits, router) + bias, lambda group: float(group.topk(2).values.sum())) != 0
    scores = sigmoid_scores(logits, router) + bias - bias[allowed].mean()
    return torch.where(allowed, scores, 0).clamp(min=0)


@dataclass(frozen=True)
class Family:
    """How a family's mixtures compute.

    Attributes:
        config: of the tiny model.
        scores: what its router ranks experts by.
        weigh: the weights of chosen experts.
    """

    config: Callable[[], Any]
    scores: Callable[[Tensor, nn.Module], Tensor]
    weigh: Weigh


def _of(kind: str, **options: Any) -> Callable[[], Any]:
    return lambda: getattr(transformers, kind)(**(_SHAPE | options))


_LOCAL = {"num_local_experts": N_EXPERTS, "intermediate_size": 24}
_QWEN = {"num_experts": N_EXPERTS, "moe_intermediate_size": 16, "intermediate_size": 24}
FAMILIES = {
    "mixtral": Family(_of("MixtralConfig", **_LOCAL), softmax_scores, of_chosen),
    "qwen2_moe": Family(
        _of("Qwen2MoeConfig", **_QWEN, shared_expert_intermediate_size=20, norm_topk_prob=False),
        softmax_scores,
        of_all,
    ),
    "qwen3_moe": Family(
        _of("Qwen3MoeConfig", **_QWEN, head_dim=8, norm_topk_prob=True, mlp_only_layers=[0]),
        softmax_scores,
        of_chosen,
    ),
    "olmoe": Family(
        _of("OlmoeConfig", num_experts=N_EXPERTS, intermediate_size=24, norm_topk_prob=False), softmax_scores, of_all
    ),
    "deepseek_v2": Family(
        _of(
            "DeepseekV2Config",
            **_DEEPSEEK,
            intermediate_size=24,
            first_k_dense_replace=1,
            topk_method="group_limited_greedy",
            n_group=2,
            topk_group=1,
            routed_scaling_factor=1.0,
        ),
        group_scores,
        of_groups,
    ),
    "deepseek_v3": Family(
        _of(
            "DeepseekV3Config",
            **_DEEPSEEK,
            intermediate_size=24,
            first_k_dense_replace=0,
            n_group=2,
            topk_group=1,
            routed_scaling_factor=2.5,
            norm_topk_prob=True,
        ),
        biased_scores,
        of_deepseek_v3,
    ),
    "gpt_oss": Family(_of("GptOssConfig", **_LOCAL, head_dim=8, sliding_window=16), softmax_scores, of_chosen),
    "granitemoe": Family(_of("GraniteMoeConfig", **_LOCAL), softmax_scores, of_chosen),
    "gemma4": Family(
        _of(
            "Gemma4TextConfig",
            **_QWEN,
            head_dim=8,
            global_head_dim=8,
            top_k_experts=PER_TOKEN,
            enable_moe_block=True,
            hidden_size_per_layer_input=0,
            num_kv_shared_layers=0,
            sliding_window=16,
        ),
        softmax_scores,
        of_gemma4,
    ),
    "llama4": Family(
        _of("Llama4TextConfig", **_LOCAL, intermediate_size_mlp=24, head_dim=8, attention_chunk_size=64),
        sigmoid_scores,
        of_llama4,
    ),
}
IDS = np.random.default_rng(0).integers(0, 50, (3, 11))


def random_mixture(family: str, dtype: torch.dtype = torch.float64) -> LoadedModel:
    torch.manual_seed(7)
    options = {"experts_implementation": "eager"} if dtype == torch.float64 else {}  # the others know no such numbers
    model = transformers.AutoModelForCausalLM.from_config(
        FAMILIES[family].config(), attn_implementation="eager", **options
    )
    for name, weight in (*model.named_parameters(), *model.named_buffers()):
        if weight.ndim > 1 or "bias" in name or "per_expert_scale" in name:
            nn.init.normal_(weight, std=0.3)
    return LoadedModel(model.eval().to(dtype), None, family, None)  # type: ignore[arg-type]


# Called with layer and scores, float32 [expert], of one token; gives the chosen, bool [expert].
ChooseExperts = Callable[[int, Tensor], Tensor]


def by_hand(loaded: LoadedModel, choose: ChooseExperts) -> Any:
    """The model with routers and experts by hand in place of its own; it is changed for good."""
    family = FAMILIES[loaded.name]
    for router in find_routers(loaded.model):
        experts = router.block.experts

        def weights_of(x: Tensor, router: Any = router) -> Tensor:
            """[token, expert]"""
            module, rows = router.module, []
            for token in x.reshape(-1, x.shape[-1]):
                logits = _logits(module, token).float()
                chosen = choose(router.layer, family.scores(logits, module).float())
                rows.append(family.weigh(logits, chosen, module))
            return torch.stack(rows).to(x)

        if loaded.name == "llama4":
            router.module.forward = lambda x, own=weights_of: (own(x), None)
            continue
        router.module.forward = lambda x, own=weights_of: (None, own(x), None)

        def sum_of(x: Tensor, *answers: Tensor, experts: Any = experts, **named: Tensor) -> Tensor:
            (weights,) = (one for one in (*answers, *named.values()) if one is not None)
            every = torch.stack([_expert(experts, number, x) for number in range(N_EXPERTS)], dim=1)
            return (every * weights[..., None]).sum(1)

        experts.forward = sum_of
    return loaded.model


def _logits(router: Any, x: Tensor) -> Tensor:
    if hasattr(router, "per_expert_scale"):
        x = x / torch.sqrt(x.pow(2).mean() + router.eps) * router.scale * x.numel() ** -0.5
        return router.proj.weight @ x
    bias = getattr(router, "bias", None)
    wide = router.weight.float() if hasattr(router, "routed_scaling_factor") else router.weight
    return wide @ x.to(wide) + (0 if bias is None else bias)


def _expert(experts: Any, number: int, x: Tensor) -> Tensor:
    """What one expert makes of x [token, d]."""
    gate_up, down = experts.gate_up_proj[number], experts.down_proj[number]
    if hasattr(experts, "gate_up_proj_bias"):  # gpt-oss: gate and up alternate, both are clamped
        both = x @ gate_up + experts.gate_up_proj_bias[number]
        gate, up = both[:, ::2].clamp(max=7.0), both[:, 1::2].clamp(-7.0, 7.0)
        return ((up + 1) * gate * torch.sigmoid(1.702 * gate)) @ down + experts.down_proj_bias[number]
    gate, up = (x @ gate_up.T).chunk(2, dim=1)
    is_gelu = isinstance(experts.act_fn, type(transformers.activations.ACT2FN["gelu_pytorch_tanh"]))
    gate = functional.gelu(gate, approximate="tanh") if is_gelu else gate * torch.sigmoid(gate)
    return (gate * up) @ down.T

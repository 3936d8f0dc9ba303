"""A decoder of the Llama family in plain torch, from a transformers model's weights: what capture must see."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

ChooseMask = Callable[[str, int, Tensor], Tensor]  # site, layer, magnitudes [token, column] -> 0/1 of the same shape
Predict = Callable[[int, Tensor], Tensor]  # layer, input of the MLP [token, d] -> scores [token, f]
Seen = dict[tuple[str, int], Tensor]  # (site, layer) -> magnitudes [token, column]


def no_mask(site: str, layer: int, magnitude: Tensor) -> Tensor:
    return torch.ones_like(magnitude)


def forward(
    model: PreTrainedModel, ids: Tensor, choose: ChooseMask = no_mask, predict: Predict | None = None
) -> tuple[Tensor, Seen]:
    """Logits [token, vocabulary] and magnitudes at every site, for one sequence of ids."""
    weights = dict(model.state_dict())
    config = model.config
    is_gemma = config.model_type == "gemma"

    def norm(x: Tensor, name: str) -> Tensor:
        scale = weights[name] + 1 if is_gemma else weights[name]
        return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + config.rms_norm_eps) * scale

    h = weights["model.embed_tokens.weight"][ids]
    if is_gemma:
        h = h * math.sqrt(config.hidden_size)
    seen: Seen = {}
    for layer in range(config.num_hidden_layers):
        at = f"model.layers.{layer}."
        h = h + attention(weights, at + "self_attn.", norm(h, at + "input_layernorm.weight"), config)
        x = norm(h, at + "post_attention_layernorm.weight")
        h = h + mlp(weights, at + "mlp.", x, layer, config, choose, predict, seen)
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    return norm(h, "model.norm.weight") @ head.T, seen


def mlp(
    weights: dict[str, Tensor],
    at: str,
    x: Tensor,
    layer: int,
    config: Any,
    choose: ChooseMask,
    predict: Predict | None,
    seen: Seen,
) -> Tensor:
    if at + "gate_up_proj.weight" in weights:
        w_gate, w_up = weights[at + "gate_up_proj.weight"].chunk(2)
    else:
        w_gate, w_up = weights[at + "gate_proj.weight"], weights[at + "up_proj.weight"]
    seen["mlp_input", layer] = x.abs()
    by_predictor: Tensor | float = 1.0
    if predict is not None:
        seen["predictor", layer] = predict(layer, x)
        by_predictor = choose("predictor", layer, seen["predictor", layer])
    x = x * choose("mlp_input", layer, x.abs())
    gate = x @ w_gate.T
    gate = torch.nn.functional.silu(gate) if config.model_type != "gemma" else gelu_tanh(gate)
    up = x @ w_up.T
    by_gate, by_up = choose("gate", layer, gate.abs()), choose("up", layer, up.abs())
    seen["gate", layer], seen["up", layer] = gate.abs() * by_up * by_predictor, up.abs() * by_gate * by_predictor
    product = gate * up * by_gate * by_up * by_predictor
    seen["glu", layer] = product.abs()
    return (product * choose("glu", layer, product.abs())) @ weights[at + "down_proj.weight"].T


def gelu_tanh(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def attention(weights: dict[str, Tensor], at: str, x: Tensor, config: Any) -> Tensor:
    n_heads, n_kv = config.num_attention_heads, config.num_key_value_heads
    n_dim = getattr(config, "head_dim", None) or config.hidden_size // n_heads
    if at + "qkv_proj.weight" in weights:
        w_q, w_k, w_v = weights[at + "qkv_proj.weight"].split([n_heads * n_dim, n_kv * n_dim, n_kv * n_dim])
    else:
        w_q, w_k, w_v = (weights[f"{at}{name}_proj.weight"] for name in "qkv")
    q, k, v = ((x @ w.T).view(len(x), -1, n_dim).transpose(0, 1) for w in (w_q, w_k, w_v))
    if at + "q_norm.weight" in weights:
        q, k = (
            y / torch.sqrt(y.pow(2).mean(-1, keepdim=True) + config.rms_norm_eps) * weights[f"{at}{name}_norm.weight"]
            for y, name in ((q, "q"), (k, "k"))
        )
    q, k = rotate(q, config), rotate(k, config)
    k, v = (y.repeat_interleave(n_heads // n_kv, 0) for y in (k, v))
    logits = q @ k.transpose(1, 2) / math.sqrt(n_dim)
    future = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
    out = logits.masked_fill(future, -math.inf).softmax(-1) @ v
    return out.transpose(0, 1).reshape(len(x), -1) @ weights[at + "o_proj.weight"].T


def rotate(x: Tensor, config: Any) -> Tensor:
    """Rotary embedding of [head, token, dim]."""
    half = x.shape[-1] // 2
    theta = config.rope_parameters["rope_theta"]
    frequency = theta ** (-torch.arange(half, dtype=x.dtype) / half)
    angle = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * frequency
    left, right = x[..., :half], x[..., half:]
    return torch.cat([left * angle.cos() - right * angle.sin(), right * angle.cos() + left * angle.sin()], -1)

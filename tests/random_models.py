"""Small models of five families with random weights, and ids for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from dipsim.sparsify.loading import LoadedModel

SHAPE = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
FAMILIES: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaConfig(**SHAPE),
    "mistral": lambda: transformers.MistralConfig(**SHAPE, sliding_window=None),
    "qwen3": lambda: transformers.Qwen3Config(**SHAPE, head_dim=8),
    "gemma": lambda: transformers.GemmaConfig(**SHAPE, head_dim=8, tie_word_embeddings=True),
    "phi3": lambda: transformers.Phi3Config(**SHAPE),
}
IDS = np.random.default_rng(0).integers(0, 50, (3, 11))


def random_model(family: str, dtype: torch.dtype = torch.float64) -> LoadedModel:
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(FAMILIES[family](), attn_implementation="eager")
    for parameter in model.parameters():  # initial weights are too small to tell one site from another
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    return LoadedModel(model.to(dtype), None, family, None)  # type: ignore[arg-type]


def as_scores(magnitude: Tensor) -> np.ndarray:
    return magnitude.float().clamp(max=65504).half().numpy()

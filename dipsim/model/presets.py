"""Which models are known by name."""

from __future__ import annotations

from typing import Any

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

"""What do a config.json's omitted keys mean: the documented defaults of the model types that people use most.

Each is what the type's own class in transformers says; a test holds every row equal to it.
"""

from __future__ import annotations

from typing import NamedTuple

# What `layer_types` calls a layer that sees a window of positions.
SLIDING = "sliding_attention"


class ModelType(NamedTuple):
    """What a key means where it is omitted; the layers of all of these are attention and a gated MLP.

    Attributes:
        num_key_value_heads: None for as many as heads.
        head_dim: None for hidden_size / num_attention_heads.
        sliding_window: positions that a sliding layer sees.
        period: which layers slide: None for none, 0 for all, else those that `layer_types` says, without it all but
            every `period`th.
        activation_key: the key that names the activation.
    """

    num_hidden_layers: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int | None
    head_dim: int | None
    vocab_size: int
    tie_word_embeddings: bool = False
    activation: str = "silu"
    sliding_window: int | None = None
    period: int | None = None
    activation_key: str = "hidden_act"


_TANH = "gelu_pytorch_tanh"
_NAMED = "hidden_activation"

MODEL_TYPES: dict[str, ModelType] = {
    "llama": ModelType(32, 4096, 11008, 32, None, None, 32000),
    "mistral": ModelType(32, 4096, 14336, 32, 8, None, 32000, sliding_window=4096, period=0),
    "ministral3": ModelType(34, 4096, 14336, 32, 8, 128, 131072, period=0),
    "qwen2": ModelType(32, 4096, 22016, 32, 32, None, 151936),
    "qwen3": ModelType(32, 4096, 22016, 32, 32, 128, 151936),
    "gemma": ModelType(28, 3072, 24576, 16, 16, 256, 256000, True, _TANH, activation_key=_NAMED),
    "gemma2": ModelType(26, 2304, 9216, 8, 4, 256, 256000, True, _TANH, 4096, 2, activation_key=_NAMED),
    "gemma3_text": ModelType(26, 2304, 9216, 8, 4, 256, 262208, True, _TANH, 4096, 6, activation_key=_NAMED),
    "phi3": ModelType(32, 3072, 8192, 32, None, None, 32064, period=0),
    "smollm3": ModelType(36, 2048, 11008, 16, 4, None, 128256, True),
    "cohere": ModelType(40, 8192, 22528, 64, None, None, 256000, True),
    "cohere2": ModelType(40, 8192, 22528, 64, None, None, 256000, True, "silu", 4096, 4),
    "granite": ModelType(32, 4096, 11008, 32, None, None, 32000),
    "olmo": ModelType(32, 4096, 11008, 32, None, None, 50304),
    "olmo2": ModelType(32, 4096, 11008, 32, None, None, 50304),
    "olmo3": ModelType(32, 4096, 11008, 32, None, None, 50304, sliding_window=4096, period=4),
    "glm4": ModelType(40, 4096, 13696, 32, 2, 128, 151552),
    "seed_oss": ModelType(64, 4096, 27648, 80, 8, 128, 155136),
    "ernie4_5": ModelType(18, 1024, 3072, 16, 2, 128, 103424, True),
}

# Models that also see: the type of the text model inside, and whether they tie, where they do not say.
WITH_TEXT_MODEL = {
    "gemma3": ("gemma3_text", True),
    "gemma4": ("gemma4_text", True),
    "llama4": ("llama4_text", False),
}

"""How large is a model: the shape and precision that decide its bytes and operations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Self

import pydantic

from dipsim import shipped
from dipsim.errors import DipsimError, suggestion
from dipsim.schema import Count, Record

BitWidth = Annotated[float, pydantic.Field(gt=0, le=64)]


# The sizes that every config.json must give.
CONFIG_SIZES = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")


# By any of these a config.json tells that its MLPs are mixtures of experts.
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


class Bits(Record):
    """Bits per weight of each part; fractions count scales in (4 bit with one 8-bit scale per 16: 4.5)."""

    mlp: BitWidth = 4
    attention: BitWidth = 4
    lm_head: BitWidth = 8
    embedding: BitWidth = 8
    kv: BitWidth = 8


class ModelSpec(Record):
    """A decoder with gated MLPs, as far as memory and time are concerned. Norms and biases are left out."""

    name: str
    n_layers: Count
    hidden_size: Count
    intermediate_size: Count
    n_heads: Count
    n_kv_heads: Count
    head_dim: Count
    vocab_size: Count
    tied_embeddings: bool = False
    activation: str = "silu"
    bits: Bits = Bits()

    @pydantic.model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_heads ({self.n_heads}) must be a multiple of n_kv_heads ({self.n_kv_heads})")
        return self

    @property
    def mlp_weight_bytes(self) -> float:
        """Bytes of one MLP weight; may be fractional."""
        return self.bits.mlp / 8

    @property
    def mlp_weights(self) -> int:
        """Weights of all gate, up and down matrices."""
        return 3 * self.n_layers * self.hidden_size * self.intermediate_size

    @property
    def mlp_bytes(self) -> float:
        """Bytes of all gate, up and down matrices."""
        return self.mlp_weights * self.mlp_weight_bytes

    @property
    def attention_weights(self) -> int:
        """Weights of one layer's query, key, value and output matrices."""
        return self.hidden_size * self.head_dim * (2 * self.n_heads + 2 * self.n_kv_heads)

    @property
    def attention_bytes(self) -> float:
        """Bytes of one layer's attention weights."""
        return self.attention_weights * self.bits.attention / 8

    @property
    def lm_head_weights(self) -> int:
        """Weights of the LM head."""
        return self.vocab_size * self.hidden_size

    @property
    def lm_head_bytes(self) -> float:
        """Bytes of the LM head; the embedding table is the same matrix where they are tied."""
        return self.lm_head_weights * self.bits.lm_head / 8

    @property
    def pinned_bytes(self) -> float:
        """Bytes of attention and LM head over all layers: what is always kept in DRAM."""
        return self.n_layers * self.attention_bytes + self.lm_head_bytes

    @property
    def embedding_row_bytes(self) -> float:
        """Bytes of one row of the embedding table: one is read per token."""
        bits = self.bits.lm_head if self.tied_embeddings else self.bits.embedding
        return self.hidden_size * bits / 8

    @property
    def kv_bytes_per_position(self) -> float:
        """Bytes of keys and values that one position adds, over all layers."""
        return 2 * self.n_kv_heads * self.head_dim * self.n_layers * self.bits.kv / 8

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """A preset by name, or the model of a Hugging Face `config.json` or of a ModelSpec in JSON.

        Raises:
            DipsimError: no such preset or file, or the file does not describe a model with gated MLPs.
        """
        presets = cls.presets()
        if str(name_or_path) in presets:
            return presets[str(name_or_path)]
        path = Path(name_or_path)
        if path.is_dir():
            path = path / "config.json"
        if not path.is_file():
            raise DipsimError(
                f"model: neither a preset nor a file, got '{name_or_path}'{suggestion(str(name_or_path), presets)}"
            )
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError) as error:
            raise DipsimError(f"{path}: not a readable JSON file: {error}") from None
        if not isinstance(data, dict):
            raise DipsimError(
                f"{path}: not a JSON object, got {type(data).__name__}; write a config.json or a ModelSpec"
            )
        return (
            cls.parse(data, str(path))
            if "n_layers" in data
            else cls.from_config(data, path.resolve().parent.name, str(path))
        )

    @classmethod
    def from_config(cls, config: dict[str, Any], name: str, where: str = "config") -> Self:
        """The model that a Hugging Face `config.json` describes, at the default bits.

        Raises:
            DipsimError: a size is missing or no count, or MLPs are mixtures of experts.
        """
        config = config | (config.get("text_config") or {})  # of a model that also sees or hears
        for key in CONFIG_SIZES:
            if not isinstance(config.get(key), int) or config[key] < 1:
                raise DipsimError(
                    f"{where}: {key}: got {config.get(key)!r}; must be a count, as must {', '.join(CONFIG_SIZES)}"
                )
        for key in _EXPERTS:
            if isinstance(config.get(key), int) and config[key] > 1:
                raise DipsimError(f"{where}: {key}: got {config[key]}; mixtures of experts are not modelled")
        n_heads = config["num_attention_heads"]
        # Gemma ties its embeddings without saying so in its files.
        tied_by_default = str(config.get("model_type", "")).startswith("gemma")
        spec = {
            "name": name,
            "n_layers": config["num_hidden_layers"],
            "hidden_size": config["hidden_size"],
            "intermediate_size": config["intermediate_size"],
            "n_heads": n_heads,
            "n_kv_heads": config.get("num_key_value_heads") or n_heads,
            "head_dim": config.get("head_dim") or config["hidden_size"] // n_heads,
            "vocab_size": config["vocab_size"],
            "tied_embeddings": bool(config.get("tie_word_embeddings", tied_by_default)),
            "activation": config.get("hidden_activation") or config.get("hidden_act") or "silu",
        }
        return cls.parse(spec, where)

    @classmethod
    def presets(cls) -> dict[str, Self]:
        """Name -> model of every preset, `tiny` (the model that ships with dipsim) included."""
        presets = {row[0]: cls._preset(*row) for row in _PRESETS}
        tiny = shipped.folder("tiny") / "config.json"
        presets["tiny"] = cls.from_config(json.loads(tiny.read_text(encoding="utf-8")), "tiny", str(tiny))
        return presets

    @classmethod
    def _preset(
        cls,
        name: str,
        n_layers: int,
        hidden_size: int,
        intermediate_size: int,
        heads: tuple[int, int, int],
        vocab_size: int,
        tied_embeddings: bool = False,
        activation: str = "silu",
    ) -> Self:
        return cls(
            name=name,
            n_layers=n_layers,
            hidden_size=hidden_size,
            intermediate_size=intermediate_size,
            n_heads=heads[0],
            n_kv_heads=heads[1],
            head_dim=heads[2],
            vocab_size=vocab_size,
            tied_embeddings=tied_embeddings,
            activation=activation,
        )


# name, layers, hidden, intermediate, (heads, KV heads, head dim), vocabulary, tied, activation:
# each model's published config.json.
_PRESETS: tuple[tuple[Any, ...], ...] = (
    ("phi-3-medium", 40, 5120, 17920, (40, 10, 128), 32064),
    ("phi-3-mini", 32, 3072, 8192, (32, 32, 96), 32064),
    ("llama-3-8b", 32, 4096, 14336, (32, 8, 128), 128256),
    ("mistral-7b", 32, 4096, 14336, (32, 8, 128), 32000),
    ("llama-3.2-1b", 16, 2048, 8192, (32, 8, 64), 128256, True),
    ("llama-3.2-3b", 28, 3072, 8192, (24, 8, 128), 128256, True),
    ("qwen3-0.6b", 28, 1024, 3072, (16, 8, 128), 151936, True),
    ("qwen3-1.7b", 28, 2048, 6144, (16, 8, 128), 151936, True),
    ("qwen3-4b", 36, 2560, 9728, (32, 8, 128), 151936, True),
    ("gemma-3-1b", 26, 1152, 6912, (4, 1, 256), 262144, True, "gelu_pytorch_tanh"),
    ("phi-4-mini", 32, 3072, 8192, (24, 8, 128), 200064, True),
    ("smollm2-1.7b", 24, 2048, 8192, (32, 32, 64), 49152, True),
)

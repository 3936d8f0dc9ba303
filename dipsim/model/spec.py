"""What describes a model: its shape and precision, and the bytes and operations that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pydantic
from numpy.typing import NDArray

from dipsim import shipped
from dipsim.documents import read_json
from dipsim.errors import DipsimError, meant, suggestion
from dipsim.model.config import sizes_of
from dipsim.model.gguf_files import is_gguf, open_gguf, sizes_and_bits
from dipsim.model.mixture import AttentionShape, Mixture, Width
from dipsim.model.presets import PRESETS
from dipsim.model.refusals import MOST_LAYERS
from dipsim.notebook import as_table
from dipsim.schema import Count, PerLayer, Record
from dipsim.units import scaled

BitWidth = Annotated[float, pydantic.Field(gt=0, le=64)]

# Generous: the largest models that anybody describes have 126 layers of 16,384 and 53,248 columns.
_MOST_COLUMNS = 2**25
Layers = Annotated[int, pydantic.Field(gt=0, le=MOST_LAYERS)]
Heads = Annotated[int, pydantic.Field(gt=0, le=2**14)]
Vocabulary = Annotated[int, pydantic.Field(gt=0, le=2**26)]


class Bits(Record):
    """Bits per weight of each part; fractions count scales in (4 bit with one 8-bit scale per 16: 4.5)."""

    mlp: BitWidth = 4
    attention: BitWidth = 4
    lm_head: BitWidth = 8
    embedding: BitWidth = 8
    kv: BitWidth = 8


class ModelSpec(Record):
    """A decoder with gated MLPs, as far as memory and time are concerned. Norms and biases are left out.

    Attributes:
        mixture: experts in place of MLPs; None where all layers have an MLP of `intermediate_size`.
        attention: of each layer, where heads do not tell (latent attention, heads that differ by layer); else None.
        sliding_window: positions that a sliding layer keeps and reads; None where all layers see every position.
        sliding_layers: which layers those are, ascending.
    """

    name: str
    n_layers: Layers
    hidden_size: Width
    intermediate_size: Width
    n_heads: Heads
    n_kv_heads: Heads
    head_dim: Width
    vocab_size: Vocabulary
    tied_embeddings: bool = False
    activation: str = "silu"
    sliding_window: Count | None = None
    sliding_layers: list[int] = pydantic.Field(default_factory=list)
    mixture: Mixture | None = None
    attention: PerLayer[AttentionShape] | None = None
    bits: Bits = Bits()

    @pydantic.model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_heads ({self.n_heads}) must be a multiple of n_kv_heads ({self.n_kv_heads})")
        n_experts = self.mixture.n_experts if self.mixture else 0
        n_columns = self.n_layers * (self.hidden_size + self.intermediate_size + n_experts)
        if n_columns > _MOST_COLUMNS:
            raise ValueError(f"layers x (hidden_size + intermediate_size) is {n_columns:,}; at most {_MOST_COLUMNS:,}")
        if (self.sliding_window is None) != (not self.sliding_layers):
            raise ValueError("sliding_window and sliding_layers go together: both, or neither")
        if not set(self.sliding_layers) <= set(range(self.n_layers)):
            raise ValueError(f"sliding_layers must be from 0 and below n_layers ({self.n_layers})")
        if self.sliding_layers != sorted(set(self.sliding_layers)):
            raise ValueError("sliding_layers must ascend, each layer once")
        if self.mixture is not None:
            self.mixture.check_layers(self.n_layers)
        if self.attention is not None and len(self.attention) != self.n_layers:
            raise ValueError(f"attention must be given for each of {self.n_layers} layers")
        return self

    @pydantic.model_serializer(mode="wrap")
    def _without_what_is_rare(self, write: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Models of MLPs whose layers all see every position are written as ever."""
        data: dict[str, Any] = write(self)
        rare = ("sliding_window", "mixture", "attention")
        left_out = {key for key in rare if data[key] is None}
        left_out |= {"sliding_layers"} & {key for key in data if "sliding_window" in left_out}
        return {key: value for key, value in data.items() if key not in left_out}

    @property
    def mlp_weight_bytes(self) -> float:
        """Bytes of one MLP weight; may be fractional."""
        return self.bits.mlp / 8

    @property
    def mlp_weights(self) -> int:
        """Weights of all gate, up and down matrices, those of all experts."""
        return sum(self._mlp_weights_in(layer) for layer in range(self.n_layers))

    def _mlp_weights_in(self, layer: int) -> int:
        own = self.mixture
        if own is None or layer in own.dense_layers:
            return 3 * self.hidden_size * self.intermediate_size
        return 3 * self.hidden_size * (own.n_experts * own.expert_size + own.shared_expert_size)

    @property
    def mlp_bytes(self) -> float:
        """Bytes of all gate, up and down matrices, those of all experts."""
        if self.mixture is None or self.mixture.expert_bytes is None:
            return self.mlp_weights * self.mlp_weight_bytes
        own, n_mixed = self.mixture, self.n_layers - len(self.mixture.dense_layers)
        experts = n_mixed * 3 * self.hidden_size * own.n_experts * own.expert_size
        n_bytes = own.n_experts * sum(own.expert_bytes or [])
        return n_bytes + (self.mlp_weights - experts) * self.mlp_weight_bytes

    @property
    def layers_with_experts(self) -> tuple[int, ...]:
        """Layers that are mixtures; none where there is none."""
        own = self.mixture
        return () if own is None else tuple(i for i in range(self.n_layers) if i not in own.dense_layers)

    def _repr_html_(self) -> str:
        sizes = f"{self.n_layers} layers of {self.hidden_size}, MLP {self.intermediate_size:,}"
        if self.mixture is not None:
            sizes += f", {self.mixture.experts_per_token} of {self.mixture.n_experts} experts"
        rows = {
            "shape": f"{sizes}, {self.n_heads}/{self.n_kv_heads} heads, {self.vocab_size:,} tokens",
            "MLP": f"{scaled(self.mlp_bytes, 'B')} at {self.bits.mlp:g} bits",
            "attention and LM head": scaled(self.pinned_bytes, "B"),
            "KV cache": f"{scaled(self.kv_bytes_per_position, 'B')} a position",
        }
        return as_table(self.name, rows)

    @property
    def pinned_weights(self) -> NDArray[np.float64]:
        """Weights of each layer's attention, and of its router where it has experts, float64 [layer]."""
        n_weights = np.full(self.n_layers, self.attention_weights, np.float64)
        if self.attention is not None:
            n_weights[:] = [own.weights for own in self.attention]
        if self.mixture is not None:
            n_weights[list(self.layers_with_experts)] += self.hidden_size * self.mixture.n_experts
        return n_weights

    @property
    def attention_weights(self) -> int:
        """Weights of one layer's query, key, value and output matrices, by its heads; see `attention`."""
        return self.hidden_size * self.head_dim * (2 * self.n_heads + 2 * self.n_kv_heads)

    @property
    def attention_bytes(self) -> float:
        """Bytes of one layer's attention weights, by its heads."""
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
        """Bytes of attention, routers and LM head over all layers: what is always kept in DRAM."""
        return float(self.pinned_weights.sum()) * self.bits.attention / 8 + self.lm_head_bytes

    @property
    def embedding_row_bytes(self) -> float:
        """Bytes of one row of the embedding table: one is read per token."""
        bits = self.bits.lm_head if self.tied_embeddings else self.bits.embedding
        return self.hidden_size * bits / 8

    @property
    def kv_bytes_per_position(self) -> float:
        """Bytes of keys and values that one position adds, over all layers, while it is within every window."""
        return float(self._kv_widths.sum()) * self.bits.kv / 8

    @property
    def _kv_widths(self) -> NDArray[np.float64]:
        """Numbers that each layer keeps of a position, float64 [layer]."""
        if self.attention is not None:
            return np.array([own.kv_width for own in self.attention], np.float64)
        return np.full(self.n_layers, 2 * self.n_kv_heads * self.head_dim, np.float64)

    def kv_bytes(self, n_positions: NDArray[np.float64] | int) -> NDArray[np.float64]:
        """Bytes of the keys and values of so many positions [...] in each layer, float64 [..., layer].

        A sliding layer keeps the last `sliding_window` of them, and a token reads what is kept.
        """
        each = np.broadcast_to(np.asarray(n_positions, np.float64)[..., None], (*np.shape(n_positions), self.n_layers))
        kept = each.copy()
        if self.sliding_window is not None:
            kept[..., self.sliding_layers] = np.minimum(kept[..., self.sliding_layers], self.sliding_window)
        return kept * (self._kv_widths * self.bits.kv / 8)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """A preset by name, or the model of a GGUF file, of a Hugging Face `config.json` or of a ModelSpec in JSON.

        Of a GGUF file, bits are those of the weights in it; a `config.json` says nothing of them.

        Raises:
            DipsimError: no such preset or file, or the file does not describe a model with gated MLPs.
        """
        presets = cls.presets()
        if str(name_or_path) in presets:
            return presets[str(name_or_path)]
        path = Path(name_or_path)
        if is_gguf(path) and not path.is_dir():
            return cls.parse(sizes_and_bits(open_gguf(path)), str(path))
        if path.is_dir():
            path = path / "config.json"
        if not path.exists() and (name := meant(str(name_or_path), presets)) is not None:
            return presets[name]
        if not path.exists():
            if Path(name_or_path).is_dir():
                raise DipsimError(f"model: got the folder '{name_or_path}'; it holds no config.json")
            raise DipsimError(
                f"model: neither a preset nor a file, got '{name_or_path}'{suggestion(str(name_or_path), presets)}"
            )
        data = read_json(path, str(path))
        if not isinstance(data, dict):
            raise DipsimError(
                f"{path}: not a JSON object, got {type(data).__name__}; write a config.json or a ModelSpec"
            )
        if "n_layers" in data and "model_type" not in data:
            return cls.parse(data, str(path))
        return cls.from_config(data, path.resolve().parent.name, str(path))

    @classmethod
    def from_config(cls, config: dict[str, Any], name: str, where: str = "config") -> Self:
        """The model that a Hugging Face `config.json` describes, at the default bits; see `dipsim.model.config`.

        Raises:
            DipsimError: a size is missing or no count, or it is no decoder of attention and gated MLPs.
        """
        return cls.parse({"name": name} | sizes_of(config, where), where)

    @classmethod
    def presets(cls) -> dict[str, Self]:
        """Name -> model of every preset, `tiny` (the model that ships with dipsim) included."""
        presets = {name: cls.model_validate(sizes) for name, sizes in PRESETS.items()}
        tiny = shipped.folder("tiny") / "config.json"
        return presets | {"tiny": cls.from_config(read_json(tiny, str(tiny)), "tiny", str(tiny))}

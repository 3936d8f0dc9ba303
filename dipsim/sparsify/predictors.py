"""Which neurons will a token need: a small network per layer that sees the MLP's input, and the file of all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from dipsim.documents import parse_json
from dipsim.errors import DipsimError
from dipsim.files import replacing
from dipsim.model import ModelSpec
from dipsim.schema import Count, Record, Share, ShortText
from dipsim.sparsify.loading import LoadedModel
from dipsim.sparsify.tensors import Shapes, read_header, read_tensors
from dipsim.version import __version__

_KEY = "dipsim"  # of the file's metadata
_FORMAT_VERSION = 1
_SHAPE = ("n_layers", "hidden_size", "intermediate_size")


class _About(Record):
    """What the file says of itself."""

    format_version: int
    model: ModelSpec
    rank: Count
    density: Share
    text: dict[str, Any]
    dipsim_version: ShortText


class TwoLayers(nn.Module):
    """d -> rank -> f with a ReLU between and no biases, as in Deja Vu (arXiv 2310.17157)."""

    def __init__(self, n_inputs: int, rank: int, n_outputs: int) -> None:
        super().__init__()
        self.inner = nn.Linear(n_inputs, rank, bias=False)
        self.outer = nn.Linear(rank, n_outputs, bias=False)

    def logits(self, x: Tensor) -> Tensor:
        """Log-odds [..., f] that a neuron is among the largest of the token, from the MLP's input [..., d]."""
        found: Tensor = self.outer(self.inner(x.to(self.inner.weight.dtype)).relu())
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Scores [..., f]: softplus keeps the order of the logits, has no end above and, in float16, none before -16
        below, where probabilities near 1 would be equal."""
        return functional.softplus(self.logits(x))


@dataclass(frozen=True)
class TrainedPredictors:
    """One network for each layer, and what they were trained on.

    Attributes:
        networks: in the order of layers.
        spec: shape of the model that they were trained on.
        rank: width of their hidden layer.
        density: share of neurons that they were trained to find.
        text: name and hash of the text.
    """

    networks: tuple[TwoLayers, ...]
    spec: ModelSpec
    rank: int
    density: float
    text: dict[str, Any]

    def save(self, path: Path) -> None:
        """Writes a safetensors file whole: weights, and all else as JSON in its metadata."""
        about = {
            "format_version": _FORMAT_VERSION,
            "model": self.spec.model_dump(mode="json"),
            "rank": self.rank,
            "density": self.density,
            "text": self.text,
            "dipsim_version": __version__,
        }
        weights = {name: value.contiguous() for name, value in nn.ModuleList(self.networks).state_dict().items()}
        with replacing(path) as temporary:
            temporary.write_bytes(save(weights, {_KEY: json.dumps(about)}))

    @classmethod
    def load(cls, path: Path) -> Self:
        """What `save` wrote.

        Raises:
            DipsimError: it cannot be read, or is something else.
        """
        where = f"predictor '{path}'"
        told, shapes = read_header(path, where)
        about = parse_json(told.get(_KEY, "{}"), where)
        if not isinstance(about, dict) or about.get("format_version") != _FORMAT_VERSION:
            raise DipsimError(f"{where}: no predictor of this dipsim; dipsim train-predictor makes one")
        found = _About.parse(about, f"{where}: damaged")
        spec = found.model
        if 2 * spec.n_layers != len(shapes) or shapes != _shapes(spec, found.rank):
            raise DipsimError(f"{where}: damaged: its tensors are not those of rank {found.rank} for '{spec.name}'")
        networks = untrained(spec, found.rank)
        nn.ModuleList(networks).load_state_dict(read_tensors(path, where))
        return cls(networks, spec, found.rank, found.density, found.text)

    def fitting(self, loaded: LoadedModel) -> Sequence[TwoLayers]:
        """The networks, on the model's device.

        Raises:
            DipsimError: they were trained on a model of another shape.
        """
        own, other = ([getattr(spec, name) for name in _SHAPE] for spec in (self.spec, loaded.spec))
        if own != other:
            raise DipsimError(
                f"predictor: trained on '{self.spec.name}' ({', '.join(_SHAPE)} {own}), got model '{loaded.name}' "
                f"({other}); the shapes must be the same"
            )
        return [network.to(loaded.model.device) for network in self.networks]


def untrained(spec: ModelSpec, rank: int) -> tuple[TwoLayers, ...]:
    """One network for each layer, with torch's initial weights."""
    return tuple(TwoLayers(spec.hidden_size, rank, spec.intermediate_size) for _ in range(spec.n_layers))


def _shapes(spec: ModelSpec, rank: int) -> Shapes:
    """What the networks' file declares."""
    own = {"inner": (rank, spec.hidden_size), "outer": (spec.intermediate_size, rank)}
    return {f"{layer}.{name}.weight": shape for layer in range(spec.n_layers) for name, shape in own.items()}

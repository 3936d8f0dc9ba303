"""Which real models have been fitted: their parameters ship, a few kB for each, so that no trace of them is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from dipsim import documents, shipped
from dipsim.errors import choose
from dipsim.model.groups import Site
from dipsim.synthetic.parameters import SITES, Depths, Parameters

_SUFFIX = ".json"
_NAMES = [field.name for field in fields(Parameters)]


@dataclass(frozen=True)
class Fitted:
    """A model's parameters at each site, and what they were fitted to.

    Attributes:
        name: of the model.
        source: what was recorded: the file's sha256, text, tokens, versions.
        sites: what `fit` found at each.
    """

    name: str
    source: Mapping[str, Any]
    sites: Mapping[Site, Depths]

    def to_dict(self) -> dict[str, Any]:
        """As in its file: of every parameter the values of the layers, from the first to the last."""
        columns = {
            site: {name: [asdict(own)[name] for _, own in depths] for name in _NAMES}
            for site, depths in self.sites.items()
        }
        return {"name": self.name, "source": dict(self.source), "sites": columns}


def names() -> tuple[str, ...]:
    """Models that there are parameters of."""
    return tuple(shipped.names("fitted", _SUFFIX))


def load(name: str) -> Fitted:
    """The parameters of a model.

    Raises:
        DipsimError: there are none of it.
    """
    path = shipped.names("fitted", _SUFFIX)[choose("like", name, names())]
    data = documents.read_json(path, f"like: '{path}'")
    return Fitted(data["name"], data["source"], {site: _depths(data["sites"][site]) for site in SITES})


def _depths(columns: dict[str, list[float]]) -> Depths:
    layers = [Parameters(*values) for values in zip(*(columns[name] for name in _NAMES), strict=True)]
    return [(layer / max(1, len(layers) - 1), own) for layer, own in enumerate(layers)]

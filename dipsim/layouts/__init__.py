"""Where do columns lie in the weight file: layouts, each one class, found by name."""

from dipsim.layouts.by_index import Column
from dipsim.layouts.coactivation import Coactivation
from dipsim.layouts.gate_first import GateFirst
from dipsim.layouts.gguf import Gguf
from dipsim.layouts.layer_groups import LayerGroups
from dipsim.layouts.protocol import (
    Layout,
    first_share,
    is_aligned,
    layouts,
    make,
    n_layers_beside,
    name_and_options,
    order_columns,
    pieces_of,
    reads_of,
    register_layout,
)
from dipsim.registry import lists_when_called

__all__ = [
    "Coactivation",
    "Column",
    "GateFirst",
    "Gguf",
    "LayerGroups",
    "Layout",
    "first_share",
    "is_aligned",
    "layouts",
    "make",
    "n_layers_beside",
    "name_and_options",
    "order_columns",
    "pieces_of",
    "reads_of",
    "register_layout",
]

lists_when_called(__name__)

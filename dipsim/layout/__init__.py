"""Where do columns lie in the weight file: layouts, each one class, found by name."""

from dipsim.layout.by_index import Column
from dipsim.layout.coactivation import Coactivation
from dipsim.layout.protocol import Layout, layouts, make, name_and_options, order_columns, register_layout

__all__ = [
    "Coactivation",
    "Column",
    "Layout",
    "layouts",
    "make",
    "name_and_options",
    "order_columns",
    "register_layout",
]

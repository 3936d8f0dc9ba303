"""What would a model do that nobody has recorded: traces of random scores with realistic shape, skew and locality."""

from dipsim.synthetic.columns import Columns
from dipsim.synthetic.fitted import Fitted
from dipsim.synthetic.fitting import fit
from dipsim.synthetic.generating import all_columns, by_layer, synthesize
from dipsim.synthetic.in_memory import synthesize_in_memory
from dipsim.synthetic.parameters import PRESETS, ROUTER, SITES, Parameters, parameters

__all__ = [
    "PRESETS",
    "ROUTER",
    "SITES",
    "Columns",
    "Fitted",
    "Parameters",
    "all_columns",
    "by_layer",
    "fit",
    "parameters",
    "synthesize",
    "synthesize_in_memory",
]

"""Figures from tidy tables: made for print, a column (8.5 cm) wide, and for the colour-blind.

Functions take the results of a sweep (one row per run) and give a `Plot`: `figure`, its tidy `data`, `save(path)`.
"""

# ruff: noqa: E402 - matplotlib must be there before the others import its parts
from dipsim.plots.surroundings import import_matplotlib

import_matplotlib()

from dipsim.plots.breakdown import time_breakdown
from dipsim.plots.curves import curves
from dipsim.plots.devices import compared_devices
from dipsim.plots.kinds import KINDS, draw
from dipsim.plots.latency import token_times
from dipsim.plots.layers import hit_rate_by_layer
from dipsim.plots.look import COLUMN_WIDTH_INCHES, look, looks
from dipsim.plots.memory import memory_map
from dipsim.plots.pareto import pareto
from dipsim.plots.regimes import regime_map
from dipsim.plots.saving import FORMATS, Plot, check_format
from dipsim.plots.statistics import statistics_by_depth
from dipsim.plots.table import ResultTable, table
from dipsim.plots.token import token_timeline
from dipsim.plots.waterfall import headroom_waterfall

__all__ = [
    "COLUMN_WIDTH_INCHES",
    "FORMATS",
    "KINDS",
    "Plot",
    "ResultTable",
    "check_format",
    "compared_devices",
    "curves",
    "draw",
    "headroom_waterfall",
    "hit_rate_by_layer",
    "look",
    "looks",
    "memory_map",
    "pareto",
    "regime_map",
    "statistics_by_depth",
    "table",
    "time_breakdown",
    "token_timeline",
    "token_times",
]

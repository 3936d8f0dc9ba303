"""Figures from tidy tables: made for print, a column (8.5 cm) or a page (17.8 cm) wide, and for the colour-blind."""

from dipsim.plots.accuracy import perplexity_by_throughput
from dipsim.plots.caching import headroom_waterfall, hit_rate_by_policy
from dipsim.plots.look import COLOURS, COLUMN_WIDTH_INCHES, MARKERS, PAGE_WIDTH_INCHES, STYLE
from dipsim.plots.saving import FORMATS, check_format, save
from dipsim.plots.statistics import statistics_by_depth
from dipsim.plots.throughput import throughput_by_density, throughput_by_dram

__all__ = [
    "COLOURS",
    "COLUMN_WIDTH_INCHES",
    "FORMATS",
    "MARKERS",
    "PAGE_WIDTH_INCHES",
    "STYLE",
    "check_format",
    "headroom_waterfall",
    "hit_rate_by_policy",
    "perplexity_by_throughput",
    "save",
    "statistics_by_depth",
    "throughput_by_density",
    "throughput_by_dram",
]

"""How is a run described: one record, from which command line, specs, ranges, `Simulation` and configurations come."""

from dipsim.description.command_line import typed
from dipsim.description.fields import OPTIONS, SPELLINGS, TABLES, default_of, flag_of, kind_of, of_simulation
from dipsim.description.kinds import kinds_of, written
from dipsim.description.option import CACHE, FLASH, METHOD, RUN, Interval, Option
from dipsim.description.record import Description

__all__ = [
    "CACHE",
    "FLASH",
    "METHOD",
    "OPTIONS",
    "RUN",
    "SPELLINGS",
    "TABLES",
    "Description",
    "Interval",
    "Option",
    "default_of",
    "flag_of",
    "kind_of",
    "kinds_of",
    "of_simulation",
    "typed",
    "written",
]

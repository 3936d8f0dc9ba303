"""What was measured: Flash by fio, this machine's DRAM and cores by dipsim, written as a profile."""

from dipsim.calibration.host import calibrate_host
from dipsim.calibration.profile import write

__all__ = ["calibrate_host", "write"]

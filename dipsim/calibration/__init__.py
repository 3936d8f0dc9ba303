"""What was measured: Flash by fio, this machine's DRAM and cores by dipsim, written as a profile."""

from dipsim.calibration.host import calibrate_host, check_host
from dipsim.calibration.job import job_text
from dipsim.calibration.profile import numbers, write
from dipsim.calibration.results import calibrate_fio

__all__ = ["calibrate_fio", "calibrate_host", "check_host", "job_text", "numbers", "write"]

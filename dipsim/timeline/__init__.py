"""What happened when: the critical path, busy seconds and the picture of a run, all derived from the devices' jobs."""

from dipsim.timeline.critical_path import PARTS
from dipsim.timeline.drawing import Timeline
from dipsim.timeline.logging import Looked, OnBlock, OnProgress, log_of
from dipsim.timeline.trace_events import write_events

__all__ = ["PARTS", "Looked", "OnBlock", "OnProgress", "Timeline", "log_of", "write_events"]

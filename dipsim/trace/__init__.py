"""What did the model do: activation scores of every token, read lazily from or streamed to a Zarr v3 group."""

from dipsim.trace.certificate import Certificate, Gap, options_of
from dipsim.trace.held import HeldScores
from dipsim.trace.reading import Sequence, Trace
from dipsim.trace.remote import local_copy
from dipsim.trace.writing import TraceWriter, check_trace_output

__all__ = [
    "Certificate",
    "Gap",
    "HeldScores",
    "Sequence",
    "Trace",
    "TraceWriter",
    "check_trace_output",
    "local_copy",
    "options_of",
]

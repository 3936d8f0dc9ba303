"""How long do streams take, each of them reads one after another, as long as may be?"""

from __future__ import annotations

import numpy as np

from dipsim.kernels.compiled_code import entry


@entry
def time_streams(  # type: ignore[no-untyped-def]
    wanted_bytes, page_bytes, longest_bytes, bytes_per_s, latency_s, submit_s, submitters, out
):
    """Times of streams, as of `dipsim.devices.Flash` where no curve is told for each depth.

    Args:
        wanted_bytes: of each, [stream]; of 0 bytes nothing is read.
        page_bytes: in which all is read; 0 for bytes as they are.
        longest_bytes: of one read; infinite for no limit.
        bytes_per_s: of sequential reading.
        latency_s: until the first data.
        submit_s: for which a core submits each read, before the next.
        submitters: cores that do, side by side.
        out: [7, stream], to be filled: the fields of `ReadBatches`.
    """
    for i in range(wanted_bytes.size):
        moved = float(wanted_bytes[i])
        if page_bytes > 0:
            moved = np.ceil(moved / page_bytes) * page_bytes
        n_reads = each_s = first_s = 0.0
        if moved > 0:
            n_reads = 1.0 if np.isinf(longest_bytes) else np.ceil(moved / longest_bytes)
            each_s, first_s = submit_s, latency_s
        at_rate_s = moved / bytes_per_s
        n_each = n_reads / submitters
        alone_s = first_s + min(moved, longest_bytes) / bytes_per_s
        formed_s = max(n_each - 1, 0.0) * each_s + max(alone_s, each_s)
        out[0, i], out[1, i], out[2, i], out[3, i] = n_reads, wanted_bytes[i], moved, at_rate_s
        out[4, i] = max(at_rate_s, n_each * each_s)
        out[5, i] = max(first_s + at_rate_s, formed_s)
        out[6, i] = max(first_s, each_s)

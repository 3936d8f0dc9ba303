"""The compiled inner loops: selection, residency, reads. Each has a plain NumPy twin in tests/reference.py.

Scores come as the bit patterns of non-negative float16 (`uint16`): these order like the numbers they stand for.
Selection works on integer sort keys, so it is exact and the same on every machine.
"""

from dipsim.kernels.compiled_code import own_place

with own_place():
    import dipsim.kernels.hooks
    import dipsim.kernels.queues
    import dipsim.kernels.scored  # noqa: F401
    from dipsim.kernels.arrays import (
        Amount,
        BoolArray,
        Float32Array,
        Float64Array,
        Int32Array,
        Int64Array,
        Uint16Array,
        Uint64Array,
    )
    from dipsim.kernels.batches import COPY_S, N_BYTES, N_READS, SECONDS, WANTED_BYTES, time_batches
    from dipsim.kernels.bits import count_bits, pack_bits, unpack_bits
    from dipsim.kernels.coactivation import NO_LINK, link_columns
    from dipsim.kernels.compact import count_patterns, read_codes, write_codes
    from dipsim.kernels.hooked_replay import replay_hooked
    from dipsim.kernels.lowest import mark_lowest
    from dipsim.kernels.lowest_priority import choose_victims
    from dipsim.kernels.making_room import find_candidates, look_up, score_sums, settle_chosen, settle_lowest
    from dipsim.kernels.next_uses import next_uses
    from dipsim.kernels.paths import path_of_stages
    from dipsim.kernels.products import add_columns
    from dipsim.kernels.queued_replay import replay_queued
    from dipsim.kernels.reads import batch_reads, costs_by_read
    from dipsim.kernels.replay import (
        ENTRY,
        LAST_USE,
        NEXT_USE,
        USE_COUNT,
        USE_COUNT_IN_CACHE,
        count_true,
        replay_tokens,
    )
    from dipsim.kernels.reweighted import ANY_THRESHOLD, reweighted_top_k
    from dipsim.kernels.rules import N_SEARCHES, choose_columns
    from dipsim.kernels.scored_replay import replay_scored
    from dipsim.kernels.scores import (
        LARGEST_FINITE,
        SHARE_ULP,
        ULP,
        blended_keys,
        clean_scores,
        first_bad,
        score_sum,
        score_values,
    )
    from dipsim.kernels.selection import top_k
    from dipsim.kernels.shared import share_tokens
    from dipsim.kernels.shared_replay import share_replay
    from dipsim.kernels.stack_distances import stack_distances
    from dipsim.kernels.stages import time_stages
    from dipsim.kernels.streams import time_streams
    from dipsim.kernels.synthetic import BEND_LOWEST_LOG2, BEND_OCTAVES, BEND_STEPS, synthetic_scores
    from dipsim.kernels.words import word_sum

__all__ = [
    "ANY_THRESHOLD",
    "BEND_LOWEST_LOG2",
    "BEND_OCTAVES",
    "BEND_STEPS",
    "COPY_S",
    "ENTRY",
    "LARGEST_FINITE",
    "LAST_USE",
    "NEXT_USE",
    "NO_LINK",
    "N_BYTES",
    "N_READS",
    "N_SEARCHES",
    "SECONDS",
    "SHARE_ULP",
    "ULP",
    "USE_COUNT",
    "USE_COUNT_IN_CACHE",
    "WANTED_BYTES",
    "Amount",
    "BoolArray",
    "Float32Array",
    "Float64Array",
    "Int32Array",
    "Int64Array",
    "Uint16Array",
    "Uint64Array",
    "add_columns",
    "batch_reads",
    "blended_keys",
    "choose_columns",
    "choose_victims",
    "clean_scores",
    "costs_by_read",
    "count_bits",
    "count_patterns",
    "count_true",
    "find_candidates",
    "first_bad",
    "link_columns",
    "look_up",
    "mark_lowest",
    "next_uses",
    "pack_bits",
    "path_of_stages",
    "read_codes",
    "replay_hooked",
    "replay_queued",
    "replay_scored",
    "replay_tokens",
    "reweighted_top_k",
    "score_sum",
    "score_sums",
    "score_values",
    "settle_chosen",
    "settle_lowest",
    "share_replay",
    "share_tokens",
    "stack_distances",
    "synthetic_scores",
    "time_batches",
    "time_stages",
    "time_streams",
    "top_k",
    "unpack_bits",
    "word_sum",
    "write_codes",
]

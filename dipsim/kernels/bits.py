"""Which columns are in a set: bit i % 64 of word i // 64 tells of column i, and bits beyond the last column are 0."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import extending, types

from dipsim.kernels.compiled_code import entry, inner

# Called with all but its first parameter, which its own type does not say.
intrinsic: Any = extending.intrinsic
_64_FLAGS, _64_BYTES = ir.VectorType(ir.IntType(1), 64), ir.VectorType(ir.IntType(8), 64)


@intrinsic
def cttz64(typing, word):  # type: ignore[no-untyped-def]
    """The place of the lowest bit of a uint64 that is 1, as int64; 64 of none."""

    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], context.get_constant(types.boolean, False))

    return types.int64(types.uint64), build


@intrinsic
def ctpop64(typing, word):  # type: ignore[no-untyped-def]
    """How many bits of a uint64 are 1, as int64."""
    return types.int64(types.uint64), lambda context, builder, signature, arguments: builder.ctpop(arguments[0])


@intrinsic
def pack64(typing, flags, start):  # type: ignore[no-untyped-def]
    """The word of 64 bools, from `start` on in a contiguous bool [column]: all must be there."""

    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = _at(context, builder, signature, arguments)
        loaded = builder.load(pointer, align=1)
        return builder.bitcast(builder.icmp_unsigned("!=", loaded, ir.Constant(_64_BYTES, None)), ir.IntType(64))

    return types.uint64(_contiguous(flags), types.int64), build


@intrinsic
def unpack64(typing, flags, start, word):  # type: ignore[no-untyped-def]
    """Sets 64 bools, from `start` on in a contiguous bool [column], to the bits of a word: all must be there."""

    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = _at(context, builder, signature, arguments)
        flags = builder.zext(builder.bitcast(arguments[2], _64_FLAGS), _64_BYTES)
        builder.store(flags, pointer, align=1)
        return context.get_dummy_value()

    return types.void(_contiguous(flags), types.int64, types.uint64), build


def _contiguous(flags: Any) -> Any:
    """The type of an array that `pack64` and `unpack64` take."""
    if not isinstance(flags, types.Array) or (flags.dtype, flags.ndim, flags.layout) != (types.boolean, 1, "C"):
        raise numba.TypingError(f"flags: contiguous bool [column], got {flags}")
    return flags


def _at(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Pointer to the 64 bools from a place on."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.PointerType(_64_BYTES))


@inner
def pack(flags, words):  # type: ignore[no-untyped-def]
    """Sets uint64 [word] to the set of contiguous bool [column]."""
    n_whole = flags.size // 64
    for w in range(n_whole):
        words[w] = pack64(flags, 64 * w)
    if n_whole < words.size:
        word = np.uint64(0)
        for i in range(64 * n_whole, flags.size):
            word |= np.uint64(flags[i]) << np.uint64(i % 64)
        words[n_whole] = word


@inner
def unpack(words, flags):  # type: ignore[no-untyped-def]
    """Sets contiguous bool [column] to the set of uint64 [word]."""
    n_whole = flags.size // 64
    for w in range(n_whole):
        unpack64(flags, 64 * w, words[w])
    for i in range(64 * n_whole, flags.size):
        flags[i] = (words[n_whole] >> np.uint64(i % 64)) & np.uint64(1)


@entry
def pack_bits(flags):  # type: ignore[no-untyped-def]
    """bool [token, column] as sets, uint64 [token, word]."""
    n_tokens, n_columns = flags.shape
    words = np.empty((n_tokens, (n_columns + 63) // 64), np.uint64)
    for t in range(n_tokens):
        pack(np.ascontiguousarray(flags[t]), words[t])
    return words


@entry
def unpack_bits(words, n_columns):  # type: ignore[no-untyped-def]
    """Sets, uint64 [token, word], as bool [token, column]."""
    flags = np.empty((words.shape[0], n_columns), np.bool_)
    for t in range(words.shape[0]):
        unpack(words[t], flags[t])
    return flags


@inner
def count_set(words):  # type: ignore[no-untyped-def]
    """How many columns are in the set uint64 [word]."""
    total = np.int64(0)
    for w in range(words.size):
        total += ctpop64(words[w])
    return total


@entry
def count_bits(words):  # type: ignore[no-untyped-def]
    """How many columns are in each set, uint64 [token, word]: int64 [token]."""
    counts = np.empty(words.shape[0], np.int64)
    for t in range(words.shape[0]):
        counts[t] = count_set(words[t])
    return counts

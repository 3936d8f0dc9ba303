"""How are 64 columns looked at in one step? Comparisons that give a word, and writes where a word's bits are set.

Compilers do not find these by themselves: they are vectors of 64 lanes in LLVM's own language, which becomes a few
instructions on any processor. Arrays are contiguous, of integers, and whole words long: a column past the last is
compared, too.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba import types

from dipsim.kernels.bits import intrinsic

LANES = 64
_I32, _I64 = ir.IntType(32), ir.IntType(64)
_FLAGS = ir.VectorType(ir.IntType(1), LANES)


@intrinsic
def at_least(typing, array, word, value):  # type: ignore[no-untyped-def]
    """Which of the 64 numbers of a word are at least the value, as uint64."""

    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        _, lanes = _lanes(context, builder, signature, arguments)
        compare = builder.icmp_signed if signature.args[0].dtype.signed else builder.icmp_unsigned
        return builder.bitcast(compare(">=", lanes, _all(builder, arguments[2])), _I64)

    return types.uint64(_contiguous(array), types.int64, array.dtype), build


@intrinsic
def set_where(typing, array, word, bits, value):  # type: ignore[no-untyped-def]
    """Sets those of the 64 numbers of a word to the value whose bits are set."""

    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer, lanes = _lanes(context, builder, signature, arguments)
        flags, value = builder.bitcast(arguments[2], _FLAGS), _all(builder, arguments[3])
        builder.store(builder.select(flags, value, lanes), pointer, align=lanes.align)
        return context.get_dummy_value()

    return types.void(_contiguous(array), types.int64, types.uint64, array.dtype), build


@intrinsic
def add_where(typing, array, word, bits):  # type: ignore[no-untyped-def]
    """Adds 1 to those of the 64 numbers of a word whose bits are set."""

    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer, lanes = _lanes(context, builder, signature, arguments)
        ones = builder.zext(builder.bitcast(arguments[2], _FLAGS), lanes.type)
        builder.store(builder.add(lanes, ones), pointer, align=lanes.align)
        return context.get_dummy_value()

    return types.void(_contiguous(array), types.int64, types.uint64), build


def _contiguous(array: Any) -> Any:
    """The type of an array that has lanes."""
    if not (isinstance(array, types.Array) and isinstance(array.dtype, types.Integer)):
        raise numba.TypingError(f"array: integers, got {array}")
    if array.ndim != 1 or array.layout != "C":
        raise numba.TypingError(f"array: one dimension, contiguous, got {array}")
    return array


def _lanes(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Pointer to the numbers of a word, and the numbers."""
    kind, element = signature.args[0], context.get_data_type(signature.args[0].dtype)
    array = context.make_array(kind)(context, builder, arguments[0])
    first = builder.gep(array.data, [builder.mul(arguments[1], ir.Constant(_I64, LANES))])
    pointer = builder.bitcast(first, ir.VectorType(element, LANES).as_pointer())
    lanes = builder.load(pointer, align=element.width // 8)
    lanes.align = element.width // 8
    return pointer, lanes


def _all(builder: Any, value: Any) -> Any:
    """The value in every lane."""
    nothing = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_I32, LANES), None))

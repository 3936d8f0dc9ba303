"""What does the head of a GGUF file say: its metadata, and which bytes each tensor has. Nothing of it is believed.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The package's own GGUFReader believes every
count, and makes several arrays for every token of the vocabulary, which takes many seconds; the kinds of weights and
their blocks are the package's.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple, cast

from dipsim.documents import open_regular
from dipsim.errors import DipsimError
from dipsim.model.refusals import MOST_LAYERS

_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_STRING, _LIST = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# More than any model has: keys, tensors (64 of a layer), bytes of a name and of a text that is kept, items of a list.
_MOST_KEYS, _MOST_TENSORS, _MOST_NAME, _MOST_TEXT, _MOST_ITEMS = 2**12, 64 * MOST_LAYERS, 2**10, 2**16, 2**22
_MOST_DIMENSIONS, _MOST_WEIGHTS = 4, 2**40


class Stored(NamedTuple):
    """A tensor in its file.

    Attributes:
        path: the file.
        shape: rows first, as numpy and torch have it.
        kind: the number of its quantisation, a `gguf.GGMLQuantizationType`.
        start: its first byte in the file.
        n_bytes: how many it has, the scales of its blocks included.
    """

    path: Path
    shape: tuple[int, ...]
    kind: int
    start: int
    n_bytes: int

    @property
    def n_weights(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


class Header(NamedTuple):
    """Metadata: numbers, texts, and lists of up to as many numbers as a model has layers; None for longer lists and
    texts and for lists of texts, which are not kept. Tensors by name."""

    metadata: dict[str, Any]
    tensors: dict[str, Stored]


def read_header(path: Path) -> Header:
    """The head of one file.

    Raises:
        DipsimError: it is missing or no GGUF file, or what it says does not fit together or into the file.
    """
    where = str(path)
    with os.fdopen(open_regular(path, where), "rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
        if not n_bytes:
            raise DipsimError(f"{where}: is empty; a GGUF file begins with 'GGUF'")
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data, where).header(path, n_bytes)
        except OSError as error:
            raise DipsimError(f"{where}: cannot be read: {error.strerror or error}") from error


class _Reader:
    """Goes through the head once, from its beginning."""

    def __init__(self, data: mmap.mmap, where: str) -> None:
        self._data, self._where, self._at = data, where, 0

    def header(self, path: Path, n_bytes: int) -> Header:
        if self._data[:4] != _MAGIC:
            raise self._fault(f"not a GGUF file: begins with {self._data[:4]!r}")
        self._at = 4
        version = self._number("I")
        if version and version % 2**16 == 0:
            raise self._fault("its numbers have their bytes in the other order (big-endian); convert it")
        if version not in _VERSIONS:
            raise self._fault(f"GGUF version {version}; must be 2 or 3, so write it anew")
        n_tensors, n_keys = self._number("Q"), self._number("Q")
        self._check("tensors", n_tensors, _MOST_TENSORS)
        self._check("keys of metadata", n_keys, _MOST_KEYS)
        metadata: dict[str, Any] = {}
        for _ in range(n_keys):
            key = self._name()
            if key in metadata:
                raise self._fault(f"the key {key!r} stands there twice")
            metadata[key] = self._value(self._number("I"), key)
        infos = [self._tensor() for _ in range(n_tensors)]
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 8 <= alignment <= 2**16 or alignment & (alignment - 1):
            raise self._fault(f"general.alignment: got {str(alignment)[:40]}; must be a power of two from 8")
        begin = -(-self._at // alignment) * alignment
        tensors = {name: Stored(path, shape, kind, begin + start, size) for name, shape, kind, start, size in infos}
        if len(tensors) < len(infos):
            raise self._fault("two tensors have one name")
        self._check_places(tensors, n_bytes)
        return Header(metadata, tensors)

    def _check_places(self, tensors: dict[str, Stored], n_bytes: int) -> None:
        end, before = 0, ""
        for name, one in sorted(tensors.items(), key=lambda item: item[1].start):
            if one.start < end:
                raise self._fault(f"tensors {before!r} and {name!r} overlap")
            end, before = one.start + one.n_bytes, name
        if end > n_bytes:
            raise self._fault(f"tensor {before!r} ends at byte {end:,}, the file at {n_bytes:,}: it is truncated")

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int, int]:
        """Name, shape, kind, first byte behind the head, bytes."""
        from gguf import GGML_QUANT_SIZES

        name = self._name()
        n_dimensions = self._number("I")
        if not 1 <= n_dimensions <= _MOST_DIMENSIONS:
            raise self._fault(f"tensor {name!r} has {n_dimensions} dimensions; 1 to {_MOST_DIMENSIONS} are possible")
        shape = tuple(self._number("Q") for _ in range(n_dimensions))[::-1]
        kind, start = self._number("I"), self._number("Q")
        if not 0 < math.prod(shape) <= _MOST_WEIGHTS:
            raise self._fault(f"tensor {name!r} has {' x '.join(map(str, shape))} weights; 1 to 2^40 are possible")
        block = cast("dict[int, tuple[int, int]]", GGML_QUANT_SIZES).get(kind)
        if block is None:
            raise self._fault(f"tensor {name!r}: quantisation type {kind} is unknown")
        n_block, block_bytes = block
        if shape[-1] % n_block:
            raise self._fault(f"tensor {name!r}: its rows of {shape[-1]} are no multiple of a block's {n_block}")
        return name, shape, kind, start, math.prod(shape) // n_block * block_bytes

    def _value(self, kind: int, key: str) -> Any:
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind == _STRING:
            n_bytes = self._number("Q")
            return self._text(n_bytes, key) if n_bytes <= _MOST_TEXT else self._skip(n_bytes)
        if kind != _LIST:
            raise self._fault(f"{key}: a value of kind {kind}, which GGUF does not have")
        kind, n_items = self._number("I"), self._number("Q")
        self._check(f"items of {key}", n_items, _MOST_ITEMS)
        if kind == _STRING:
            for _ in range(n_items):
                self._skip(self._number("Q"))
            return None
        if kind not in _NUMBERS:
            raise self._fault(f"{key}: a list of kind {kind}; must be of numbers or of texts")
        if n_items > MOST_LAYERS:
            return self._skip(n_items * struct.calcsize(_NUMBERS[kind]))
        return [self._number(_NUMBERS[kind]) for _ in range(n_items)]

    def _number(self, code: str) -> int:
        begin = self._at
        self._skip(struct.calcsize(code))
        return cast(int, struct.unpack_from(f"<{code}", self._data, begin)[0])

    def _name(self) -> str:
        n_bytes = self._number("Q")
        self._check("bytes of a name", n_bytes, _MOST_NAME)
        return self._text(n_bytes, "a name")

    def _text(self, n_bytes: int, what: str) -> str:
        begin = self._at
        self._skip(n_bytes)
        try:
            return self._data[begin : self._at].decode()
        except UnicodeDecodeError:
            raise self._fault(f"{what} is not UTF-8") from None

    def _skip(self, n_bytes: int) -> None:
        self._at += n_bytes
        if self._at > len(self._data):
            raise self._fault("is truncated: it ends within its head")

    def _check(self, what: str, count: int, most: int) -> None:
        if count > most:
            raise self._fault(f"says that it has {count:,} {what}; at most {most:,} are read")

    def _fault(self, message: str) -> DipsimError:
        return DipsimError(f"{self._where}: {message}")

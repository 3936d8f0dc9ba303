"""One array of a trace: what its `zarr.json` may say, and its numbers chunk by chunk.

Whole arrays are never held, and nothing is allocated or looped over before the metadata, the sizes of the chunks' files
and what they inflate to are known to be in bounds. Without zarr's event loop it is several times faster, too.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from dipsim.archives import check_fold
from dipsim.documents import parse_json
from dipsim.errors import DipsimError
from dipsim.schema import Record, Sizes
from dipsim.trace.codecs import Codecs
from dipsim.trace.format import CHUNK_TOKENS, MOST_CHUNKS
from dipsim.trace.members import Members

METADATA = "zarr.json"
MOST_METADATA_BYTES = 2**21
# What may have to be decoded to read the scores of 128 tokens at one layer; and what all chunks may hold together, in
# times of what the array holds, if that is more than a small array may have.
_MOST_DECODED_BYTES = 256 * 2**20
_MOST_OVERHANG, _LEAST_CHUNKS_BYTES = 4, 64 * 2**20


class _Shape(Record):
    chunk_shape: Sizes


class _Grid(Record):
    name: Literal["regular"]
    configuration: _Shape


class _Separator(Record):
    separator: Literal["/", "."] | None = None


class _Keys(Record):
    name: Literal["default", "v2"]
    configuration: _Separator = _Separator()


class _Document(Record):
    zarr_format: Literal[3]
    node_type: Literal["array"]
    shape: Sizes
    data_type: str
    chunk_grid: _Grid
    chunk_key_encoding: _Keys
    fill_value: Any
    codecs: list[Any]
    attributes: Any = None
    dimension_names: Any = None
    storage_transformers: Any = None


@dataclass(frozen=True)
class StoredArray:
    """An array as it lies in a trace.

    Attributes:
        name: inside the trace, `scores/glu`.
        data_type: of Zarr, `float16`.
        shape: of the whole.
        chunk_shape: of each chunk; the last ones hang over the end.
        fill_value: of chunks that were not written.
    """

    name: str
    data_type: str
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    fill_value: Any
    _where: str
    _members: Members
    _keys: _Keys
    _codecs: Codecs

    @classmethod
    def of(cls, members: Members, name: str, where: str) -> Self | None:
        """The array of a name; None where there is none.

        Raises:
            DipsimError: it cannot be read, or not within bounds.
        """
        text = members.read(f"{name}/{METADATA}", MOST_METADATA_BYTES)
        if text is None:
            return None
        where = f"{where}: {name}"
        said = _Document.parse(parse_json(bytes(text), f"{where}/{METADATA}"), f"{where}/{METADATA}")
        if said.data_type not in ("float16", "uint8", "int32"):
            raise DipsimError(f"{where}: got {said.data_type[:60]}; scores are float16 or uint8, ids int32")
        if said.storage_transformers:
            raise DipsimError(f"{where}: storage_transformers: got some; there are none that dipsim reads")
        shape, chunk_shape = tuple(said.shape), tuple(said.chunk_grid.configuration.chunk_shape)
        if not shape or len(shape) != len(chunk_shape):
            raise DipsimError(f"{where}: chunk_shape: got {list(chunk_shape)} for an array of {list(shape)}")
        codecs = Codecs.of(said.codecs, len(shape), where)
        array = cls(
            name, said.data_type, shape, chunk_shape, said.fill_value, where, members, said.chunk_key_encoding, codecs
        )
        array._check_chunks()
        return array

    @property
    def _grid(self) -> list[int]:
        """Chunks along each axis."""
        return [-(-n // size) for n, size in zip(self.shape, self.chunk_shape, strict=True)]

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(self.data_type)

    @property
    def _chunk_bytes(self) -> int:
        return math.prod(self.chunk_shape) * self._dtype.itemsize

    def _check_chunks(self) -> None:
        """Refuses chunks that are too many, or of which too much would be decoded for too little."""
        where, n_chunks = f"{self._where}: chunks of {list(self.chunk_shape)}", math.prod(self._grid)
        if n_chunks > MOST_CHUNKS:
            raise DipsimError(f"{where}: the array has {n_chunks:,}; at most {MOST_CHUNKS:,}")
        asked = (CHUNK_TOKENS, 1, *self.shape[2:])
        sides = zip(asked, self._grid, self.chunk_shape, strict=False)
        decoded = math.prod(min(n, -(-some // size) + 1) for some, n, size in sides) * self._chunk_bytes
        if decoded > _MOST_DECODED_BYTES:
            raise DipsimError(
                f"{where}: {decoded:,} bytes would be decoded for {CHUNK_TOKENS} tokens of a layer; at most "
                f"{_MOST_DECODED_BYTES:,}; write chunks of {CHUNK_TOKENS} tokens by one layer"
            )
        # A chunk of 128 tokens is whole, however few the array has.
        n_bytes = math.prod((max(self.shape[0], CHUNK_TOKENS), *self.shape[1:])) * self._dtype.itemsize
        if n_chunks * self._chunk_bytes > max(_LEAST_CHUNKS_BYTES, _MOST_OVERHANG * n_bytes):
            raise DipsimError(f"{where} hold {n_chunks * self._chunk_bytes:,} bytes for an array of {list(self.shape)}")

    def check_complete(self) -> None:
        """Refuses an array of which a chunk is missing or has a size that it cannot have.

        Raises:
            DipsimError: the first chunk of which this is so.
        """
        most, stored = self._codecs.most_bytes(self._chunk_bytes), 0
        for index in itertools.product(*map(range, self._grid)):
            key = self._key(index)
            sizes = self._members.size(f"{self.name}/{key}")
            if sizes is None:
                raise DipsimError(
                    f"{self._where}: chunk '{key}' is missing; all must be written, all-zero ones "
                    "too (zarr's write_empty_chunks)"
                )
            if sizes[0] > most:
                raise DipsimError(f"{self._where}: chunk '{key}' has {sizes[0]:,} bytes; at most {most:,}")
            stored += sizes[1]
        check_fold(self._where, math.prod(self.shape) * self._dtype.itemsize, stored)

    def _key(self, index: tuple[int, ...]) -> str:
        is_default = self._keys.name == "default"
        separator = self._keys.configuration.separator or ("/" if is_default else ".")
        return separator.join([*(["c"] if is_default else []), *map(str, index)])

    def read(self, *bounds: tuple[int, int], missing: int | None = None) -> NDArray[Any]:
        """A region of the array.

        Args:
            bounds: start and stop (exclusive) along every axis.
            missing: what stands in chunks that are not there; they are refused where it is None.

        Raises:
            DipsimError: a file cannot be read.
            Exception: whatever a damaged chunk makes its codecs raise.
        """
        sides = zip(bounds, self.chunk_shape, strict=True)
        shape = tuple(stop - start for start, stop in bounds)
        found: NDArray[Any] | None = None
        for index in itertools.product(*(range(start // n, -(-stop // n)) for (start, stop), n in sides)):
            part, place = self._part(index, bounds, missing)
            if part.shape == shape:
                return np.require(part, self._dtype, ["C", "W"])  # as it was read, where that will do
            found = np.empty(shape, self._dtype) if found is None else found
            found[place] = part
        return np.empty(shape, self._dtype) if found is None else found

    def _part(
        self, index: tuple[int, ...], bounds: tuple[tuple[int, int], ...], missing: int | None
    ) -> tuple[NDArray[Any], tuple[slice, ...]]:
        """What of a chunk lies in a region, and where there."""
        origin = [i * n for i, n in zip(index, self.chunk_shape, strict=True)]
        spans = [
            (max(start, zero), min(stop, zero + n))
            for (start, stop), zero, n in zip(bounds, origin, self.chunk_shape, strict=True)
        ]
        place = tuple(slice(a - start, b - start) for (a, b), (start, _) in zip(spans, bounds, strict=True))
        key = self._key(index)
        data = self._members.read(f"{self.name}/{key}", self._codecs.most_bytes(self._chunk_bytes))
        if data is not None:
            chunk = self._codecs.decode(data, self._dtype, self.chunk_shape)
            return chunk[tuple(slice(a - zero, b - zero) for (a, b), zero in zip(spans, origin, strict=True))], place
        if missing is None:
            raise ValueError(f"chunk '{key}' is missing")
        return np.full([b - a for a, b in spans], missing, self._dtype), place

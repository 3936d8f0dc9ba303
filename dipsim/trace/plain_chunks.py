"""Writes the chunks of dipsim's own traces without zarr's event loop: several times faster, and equal to zarr's.

They hold some tokens of one layer as plain little-endian bytes, with or without a checksum, each in a file of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from dipsim.kernels import Uint16Array
from dipsim.trace.codecs import crc32c

if TYPE_CHECKING:  # as in `writing`
    import zarr


class PlainChunks:
    """Scores of one site in files of plain bytes.

    Args:
        folder: where the array lies.
        separator: between the parts of a chunk's key, `/` or `.`.
        shape: tokens and columns of a chunk.
        has_checksum: whether a CRC-32C follows the scores.
    """

    def __init__(self, folder: Path, separator: str, shape: tuple[int, int], has_checksum: bool) -> None:
        self._folder = folder
        self._separator = separator
        self._shape = shape
        self._has_checksum = has_checksum

    @classmethod
    def of(cls, scores: zarr.Array[Any]) -> Self | None:
        """None where the array is stored in any other way."""
        from zarr.codecs import BytesCodec, Crc32cCodec
        from zarr.codecs.bytes import Endian
        from zarr.core.chunk_key_encodings import DefaultChunkKeyEncoding
        from zarr.storage import LocalStore

        metadata, store = scores.metadata, scores.store_path.store
        if not isinstance(store, LocalStore) or metadata.zarr_format != 3:
            return None
        encoding, codecs = metadata.chunk_key_encoding, list(metadata.codecs)
        has_checksum = len(codecs) == 2 and isinstance(codecs[1], Crc32cCodec)
        is_plain = isinstance(codecs[0], BytesCodec) and codecs[0].endian in (Endian.little, None)
        n_tokens, n_layers, n_columns = scores.chunks
        if not (is_plain and len(codecs) == 1 + has_checksum and n_layers == 1 and n_columns == scores.shape[2]):
            return None
        if not isinstance(encoding, DefaultChunkKeyEncoding):
            return None
        folder = store.root / scores.store_path.path
        return cls(folder, encoding.separator, (n_tokens, n_columns), has_checksum)

    def write(self, start: int, layer: int, bits: Uint16Array | NDArray[np.uint8]) -> int:
        """Writes the whole chunks that tokens from `start` on fill; what is left is for zarr.

        Args:
            start: the first token.
            layer: their layer.
            bits: float16 bit patterns [token, column], or bytes.

        Returns:
            How many tokens were written, from the first on.

        Raises:
            OSError: a file cannot be written.
        """
        n_tokens, _ = self._shape
        n_chunks = 0 if start % n_tokens else len(bits) // n_tokens
        for chunk in range(n_chunks):
            part = bits[chunk * n_tokens : (chunk + 1) * n_tokens]
            own = np.ascontiguousarray(part, part.dtype.newbyteorder("<")).view(np.uint8).reshape(-1)
            path = self._path(start // n_tokens + chunk, layer)
            if self._separator == "/":
                path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.write(own.data)
                if self._has_checksum:
                    file.write(crc32c(own))
        return n_chunks * n_tokens

    def _path(self, chunk: int, layer: int) -> Path:
        return self._folder / self._separator.join(("c", str(chunk), str(layer), "0"))

"""How the numbers of a chunk became its bytes, and back, never to more bytes than the chunk has numbers for."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any, Literal, Self

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from dipsim.errors import DipsimError
from dipsim.schema import Record

_CHECKSUM_BYTES = 4
_MOST_CODECS = 8
_COMPRESSORS = ("zstd", "gzip", "blosc")
_ZSTD_MAGIC = bytes.fromhex("28b52ffd")
_BLOSC_HEADER_BYTES = 16


class Codec(Record):
    """One of an array's `codecs`."""

    name: str
    configuration: dict[str, Any] | None = None


@dataclass(frozen=True)
class Codecs:
    """An array's codecs, in the order of writing.

    Attributes:
        orders: the axes of each transposition.
        end: which of a number's bytes comes first.
        packing: what was done to the bytes: `crc32c`, and at most one of `zstd`, `gzip` and `blosc`.
    """

    orders: tuple[tuple[int, ...], ...]
    end: Literal["little", "big"]
    packing: tuple[str, ...]

    @classmethod
    def of(cls, said: list[Any], n_dims: int, where: str) -> Self:
        """From an array's metadata.

        Raises:
            DipsimError: they cannot be read, among them sharding and two compressors, one over the other.
        """
        codecs = [Codec.parse(one, f"{where}: codecs") for one in said[: _MOST_CODECS + 1]]
        names = [codec.name for codec in codecs]
        to_bytes = names.index("bytes") if "bytes" in names else 0
        packing = names[to_bytes + 1 :]
        n_compressors = sum(name in _COMPRESSORS for name in packing)
        if (
            "bytes" not in names
            or {*names[:to_bytes]} - {"transpose"}
            or {*packing} - {"crc32c", *_COMPRESSORS}
            or n_compressors > 1
            or len(names) > _MOST_CODECS
        ):
            raise DipsimError(
                f"{where}: codecs: got {', '.join(names)[:200] or 'none'}; must be any of transpose, then bytes, then "
                f"any of crc32c and one of {', '.join(_COMPRESSORS)}; at most {_MOST_CODECS}"
            )
        orders = [(codec.configuration or {}).get("order") for codec in codecs[:to_bytes]]
        for order in orders:
            if not isinstance(order, list) or sorted(order, key=repr) != list(range(n_dims)):
                raise DipsimError(f"{where}: codecs: transpose: order: got {order!r:.60}; must be the {n_dims} axes")
        end = (codecs[to_bytes].configuration or {}).get("endian", "little")
        if end not in ("little", "big"):
            raise DipsimError(f"{where}: codecs: bytes: endian: got {end!r:.60}; must be little or big")
        return cls(tuple(tuple(order) for order in orders if order), end, tuple(packing))

    def most_bytes(self, n_bytes: int) -> int:
        """What a chunk of so many bytes may take once it is packed: compressors lengthen what they cannot shorten."""
        return n_bytes + n_bytes // 64 + 4096 if self.packing else n_bytes

    def decode(self, data: NDArray[np.uint8], dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """The numbers of a chunk.

        Raises:
            ValueError: too few or too many bytes, or a checksum is wrong.
            Exception: whatever a compressor raises when its data are damaged.
        """
        n_bytes = math.prod(shape) * dtype.itemsize
        sizes = [n_bytes]
        for name in self.packing:
            sizes.append(sizes[-1] + _CHECKSUM_BYTES)  # before a compressor there are nothing but checksums
            if name in _COMPRESSORS:
                break
        packed = data
        for i, name in reversed(list(enumerate(self.packing))):
            packed = _checked(packed) if name == "crc32c" else _INFLATE[name](packed, sizes[i])
        if packed.size != n_bytes:
            raise ValueError(f"a chunk has {packed.size} bytes, not {n_bytes}")
        for order in self.orders:
            shape = tuple(shape[axis] for axis in order)
        numbers = packed.view(dtype.newbyteorder(self.end)).reshape(shape)
        for order in reversed(self.orders):
            numbers = numbers.transpose(np.argsort(order))
        return numbers


def crc32c(data: NDArray[np.uint8]) -> bytes:
    """The checksum that follows data."""
    read_only = data.view()
    read_only.flags.writeable = False  # the library takes no other buffer
    return int(google_crc32c.value(read_only)).to_bytes(_CHECKSUM_BYTES, "little")


def _checked(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    content = data[:-_CHECKSUM_BYTES]
    if data.size < _CHECKSUM_BYTES or crc32c(content) != data[-_CHECKSUM_BYTES:].tobytes():
        raise ValueError("the checksum of a chunk is wrong")
    return content


def _unzstd(data: NDArray[np.uint8], n_bytes: int) -> NDArray[np.uint8]:
    from numcodecs.zstd import Zstd

    declared = _zstd_content_bytes(data[:18].tobytes())
    if declared not in (None, n_bytes):
        raise ValueError(f"a chunk inflates to {declared} bytes, not {n_bytes}")
    inflated = np.empty(n_bytes, np.uint8)
    Zstd().decode(data, out=inflated)
    return inflated


def _zstd_content_bytes(header: bytes) -> int | None:
    """What a frame says that it holds; None where it does not say (RFC 8878, 3.1.1.1)."""
    if len(header) < 6 or header[:4] != _ZSTD_MAGIC:
        raise ValueError("a chunk is no zstd frame")
    flag, is_single, has_id = header[4] >> 6, header[4] >> 5 & 1, header[4] & 3
    start = 5 + (not is_single) + (0, 1, 2, 4)[has_id]
    length = (is_single, 2, 4, 8)[flag]
    return int.from_bytes(header[start : start + length], "little") + 256 * (length == 2) if length else None


def _ungzip(data: NDArray[np.uint8], n_bytes: int) -> NDArray[np.uint8]:
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    inflated = stream.decompress(data.tobytes(), n_bytes + 1)
    if len(inflated) != n_bytes or not stream.eof or stream.unused_data:
        raise ValueError(f"a chunk does not inflate to {n_bytes} bytes")
    return np.frombuffer(inflated, np.uint8)


def _unblosc(data: NDArray[np.uint8], n_bytes: int) -> NDArray[np.uint8]:
    from numcodecs.blosc import Blosc

    # The library believes both sizes in its header, the packed one at the cost of reading beyond the data.
    header = data[:_BLOSC_HEADER_BYTES].tobytes()
    inflated_bytes, packed_bytes = int.from_bytes(header[4:8], "little"), int.from_bytes(header[12:16], "little")
    if len(header) < _BLOSC_HEADER_BYTES or packed_bytes != data.size or inflated_bytes != n_bytes:
        raise ValueError(f"a chunk is no blosc buffer of {n_bytes} bytes")
    return np.frombuffer(Blosc().decode(data), np.uint8)


_INFLATE = {"zstd": _unzstd, "gzip": _ungzip, "blosc": _unblosc}

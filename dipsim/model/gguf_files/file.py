"""Which model is in a GGUF file, or in the files that it was split into."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dipsim.errors import DipsimError
from dipsim.model.gguf_files.header import Stored, read_header
from dipsim.model.refusals import MOST_LAYERS
from dipsim.threads import n_threads

_SPLIT = re.compile(r"(.+)-(\d{5})-of-(\d{5})", re.DOTALL)
# Weights that are dequantised at once: the package's own 16 rows are too few where rows are short. The caches of a core
# should hold them; a multiple of every kind's block.
_CHUNK_WEIGHTS = 2**18


class GgufFile(NamedTuple):
    """A model in one file or several.

    Attributes:
        path: what was named.
        name: of the file, without its ending and without what says which part it is.
        parts: all files, in order.
        metadata: numbers and texts of the first part, by key; what is long is None, see `Header`.
        tensors: of all parts, by name.
    """

    path: Path
    name: str
    parts: list[Path]
    metadata: dict[str, Any]
    tensors: dict[str, Stored]

    @property
    def where(self) -> str:
        """What opens messages."""
        return str(self.path)

    @property
    def architecture(self) -> str:
        """The name of its architecture, as llama.cpp has it.

        Raises:
            DipsimError: it names none.
        """
        name = self.metadata.get("general.architecture")
        if not isinstance(name, str):
            raise DipsimError(f"{self.where}: general.architecture: is missing; only it says what the tensors mean")
        return name


def is_gguf(path: str | Path) -> bool:
    """Whether a path is said to be such a file, by its ending."""
    return Path(path).suffix.lower() == ".gguf"


def parts_of(path: Path) -> list[Path]:
    """The files that a model was split into, of which any may be named; else the file alone."""
    if (split := _SPLIT.fullmatch(path.stem)) is None:
        return [path]
    n_parts = int(split[3])
    if not 1 <= int(split[2]) <= n_parts <= MOST_LAYERS:
        raise DipsimError(f"{path}: part {int(split[2])} of {n_parts} parts; there may be 1 to {MOST_LAYERS}")
    return [path.with_name(f"{split[1]}-{part:05}-of-{split[3]}{path.suffix}") for part in range(1, n_parts + 1)]


def open_gguf(path: Path) -> GgufFile:
    """The model in a file and, if it is one part of several, in the others.

    Raises:
        DipsimError: a part is missing or no GGUF file, or parts do not belong together.
    """
    parts = parts_of(path)
    for part in parts:
        if not part.exists() and len(parts) > 1:
            raise DipsimError(f"{path}: is one of {len(parts)} parts, and '{part.name}' is not beside it")
    headers = [read_header(part) for part in parts]
    tensors: dict[str, Stored] = {}
    for i, (part, header) in enumerate(zip(parts, headers, strict=True)):
        told = (header.metadata.get("split.no", 0), header.metadata.get("split.count", 1) or 1)
        if told != (i, len(parts)):
            raise DipsimError(
                f"{part}: says that it is part {told[0]} (from 0) of {told[1]}, its name says {i} of {len(parts)}; "
                "the parts of a model are named NAME-00001-of-0000N.gguf"
            )
        if double := sorted(tensors.keys() & header.tensors.keys()):
            raise DipsimError(f"{part}: tensor {double[0]!r} is in another part too")
        tensors |= header.tensors
    n_told = headers[0].metadata.get("split.tensors.count", len(tensors))
    if n_told != len(tensors):
        raise DipsimError(f"{path}: the parts have {len(tensors)} tensors, and say that they have {n_told}")
    split = _SPLIT.fullmatch(path.stem)
    return GgufFile(path, split[1] if split else path.stem, parts, headers[0].metadata, tensors)


def dequantised(stored: Stored) -> NDArray[np.float32]:
    """The numbers of a tensor, float32 of its shape.

    Raises:
        DipsimError: the package gguf cannot dequantise its kind.
        OSError: the file cannot be read any more.
    """
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize

    kind = GGMLQuantizationType(stored.kind)
    n_block, block_bytes = GGML_QUANT_SIZES[kind]
    packed = np.memmap(stored.path, np.uint8, "r", stored.start, (stored.n_bytes,))
    numbers = np.empty(stored.n_weights, np.float32)

    def fill(first: int) -> None:
        last = min(first + _CHUNK_WEIGHTS, numbers.size)
        chunk = packed[first // n_block * block_bytes : last // n_block * block_bytes]
        with np.errstate(all="ignore"):  # a block of a stranger's may hold any scale
            numbers[first:last] = dequantize(chunk, kind)

    try:
        with ThreadPoolExecutor(n_threads()) as pool:
            list(pool.map(fill, range(0, numbers.size, _CHUNK_WEIGHTS)))
    except NotImplementedError:
        raise DipsimError(f"{stored.path}: weights of kind {kind.name} cannot be dequantised") from None
    return numbers.reshape(stored.shape)

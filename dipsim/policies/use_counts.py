"""Use counts of columns in a file: an .npz of one array for each layer and group."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from dipsim.archives import Archive
from dipsim.errors import DipsimError, suggestion
from dipsim.files import replacing
from dipsim.kernels import Float64Array, Int64Array
from dipsim.policies.protocol import Place

# Of the file's index, of an array's header, and of a count.
_MOST_INDEX_BYTES, _MOST_HEADER_BYTES, _MOST_COUNT_BYTES = 2**20, 2**16, 16


def save_use_counts(path: str | Path, counts: dict[tuple[int, str], Int64Array]) -> None:
    """Writes the use counts of columns, by (layer, group), as the policy `static` reads them."""
    arrays: dict[str, Any] = {_array_name(layer, group): values for (layer, group), values in counts.items()}
    with replacing(Path(path)) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_use_counts(path: str, place: Place) -> Float64Array:
    """The use counts of a place's columns.

    Raises:
        DipsimError: the file has none for the place, is damaged, or has other than one finite count for each column.
    """
    parts = place.parts or ((place.layer, place.group, place.n_columns),)
    return np.concatenate([_use_counts(path, _array_name(layer, group), n) for layer, group, n in parts])


def _use_counts(path: str, name: str, n_columns: int) -> Float64Array:
    with Archive(Path(path), path, _MOST_INDEX_BYTES) as archive:
        data = archive.read(f"{name}.npy", _MOST_HEADER_BYTES + _MOST_COUNT_BYTES * n_columns)
        if data is None:
            names = ["".join(entry.filename.removesuffix(".npy").split()) for entry in archive.entries[:100]]
            raise DipsimError(f"{path}: has no array '{name}'{suggestion(name, names)}")
    try:
        shape, counts = _counts(data.tobytes(), n_columns)
    except Exception as error:  # numpy's reader of headers raises anything, tokenize's errors among it
        raise DipsimError(f"{path}: array '{name}' cannot be read: {' '.join(str(error).split())[:200]}") from None
    if counts is None or not np.isfinite(counts).all():
        raise DipsimError(
            f"{path}: array '{name}', got shape {shape}; must be one finite count for each of {n_columns} columns"
        )
    return counts


def _counts(data: bytes, n_columns: int) -> tuple[tuple[int, ...], Float64Array | None]:
    """The shape that an .npy says it has, and its numbers, if that is one for each column."""
    file = io.BytesIO(data)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, _, dtype = readers[np.lib.format.read_magic(file)](file)
    if shape != (n_columns,):
        return shape, None
    if dtype.kind not in "biuf":
        raise ValueError(f"got {dtype}; must be numbers")
    return shape, np.frombuffer(data, dtype, n_columns, file.tell()).astype(np.float64)


def _array_name(layer: int, group: str) -> str:
    return f"{layer}/{group}"

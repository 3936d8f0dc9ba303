"""What does a safetensors file hold: what it says of itself, the shapes it declares, and only then its tensors."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from dipsim.errors import DipsimError

Shapes = dict[str, tuple[int, ...]]


def read_header(path: Path, where: str) -> tuple[dict[str, str], Shapes]:
    """What a file says of itself, and its tensors' shapes; that they fit into the file was checked.

    Raises:
        DipsimError: it is missing, no regular file, or damaged.
    """
    if not path.is_file():  # a pipe would not open until somebody writes to it
        raise DipsimError(f"{where}: cannot be read: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no dict
            return file.metadata() or {}, shapes
    except Exception as error:  # whatever safetensors makes of a stranger's file
        raise DipsimError(f"{where}: cannot be read: {str(error)[:200]}") from None


def read_tensors(path: Path, where: str) -> dict[str, Tensor]:
    """The tensors of a file whose header was read.

    Raises:
        DipsimError: one holds what is no number, or is of a kind that torch lacks.
    """
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            whole = all(bool(torch.isfinite(tensor).all()) for tensor in found.values())
    except Exception as error:  # whatever safetensors and torch make of a stranger's file
        raise DipsimError(f"{where}: cannot be read: {str(error)[:200]}") from None
    if not whole:
        raise DipsimError(f"{where}: holds weights that are no finite numbers")
    return found

"""Route traces of BigMoeOnEdge (github.com/Helldez/BigMoeOnEdge), version 1, as CSV.

    # route_trace v1
    # model=PATH arch=qwen3moe n_layer=48 n_expert=128 n_expert_used=6
    # layer=0 expert_bytes=3059712 dense_bytes=11953152          one line for each layer
    turn,phase,step,layer,slot,expert,weight,residency,expert_bytes
    0,0,0,0,0,49,0.221297,0,3059712

Phase 0 is the prompt, 1 is decoding. A row's bytes are those that were read: the layer's, or 0 where the expert was
resident or another token of the same prompt had it read. Weights are shares of the token's chosen experts. A turn
becomes a sequence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dipsim.errors import DipsimError
from dipsim.routes.rows import Block, OnProgress, csv_blocks, open_binary, read_line
from dipsim.routes.table import Table

_FIRST = "# route_trace v1"
_COLUMNS = "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes"
_NAMES = _COLUMNS.split(",")
_MOST_LAYERS, _MOST_EXPERTS = 2**12, 2**14
_MODEL = re.compile(r"# model=(.*) arch=(\S+) n_layer=(\d{1,9}) n_expert=(\d{1,9}) n_expert_used=(\d{1,9})")
_LAYER = re.compile(r"# layer=(\d{1,9}) expert_bytes=(\d{1,15}) dense_bytes=(\d{1,15})")


@dataclass(frozen=True)
class Header:
    """What stands above the rows.

    Attributes:
        model, arch: as the engine names them.
        n_layers, n_experts: of the model.
        per_token: experts that a token used.
        expert_bytes, dense_bytes: of one expert, and of all that is no expert, in each layer.
        n_lines: of the header.
    """

    model: str
    arch: str
    n_layers: int
    n_experts: int
    per_token: int
    expert_bytes: list[int]
    dense_bytes: list[int]
    n_lines: int


def read_bigmoe(path: Path, on_progress: OnProgress) -> tuple[Header, Table]:
    """What the file holds.

    Raises:
        DipsimError: no such file, or not what it should be, with the line.
    """
    with open_binary(path) as file:
        header = _header(file, str(path))
        table = Table(f"{path}: line", header.n_layers, header.n_experts)
        for block in csv_blocks(file, str(path), _NAMES, header.n_lines, on_progress):
            columns = dict(zip(_NAMES, block.columns.T, strict=True))
            # phase 0 is the prompt
            phases = np.where(np.isin(columns["phase"], (0, 1)), 1 - columns["phase"], np.nan)
            if (bad := np.flatnonzero(np.isnan(phases))).size:
                block.refuse(int(bad[0]), f"phase: got {columns['phase'][bad[0]]:g}; 0 (prompt) or 1 (decoding)")
            own = [columns["turn"], columns["step"], columns["layer"], columns["expert"], phases, columns["weight"]]
            table.add(block, np.stack(own, axis=1))
            _check_bytes(block, columns["layer"].astype(np.int64), columns["expert_bytes"], header.expert_bytes)
    return header, table


def _header(file: BinaryIO, where: str) -> Header:
    first = read_line(file, where, 1).strip()
    if first != _FIRST:
        raise DipsimError(f"{where}: line 1: got {first[:60]!r}; a route trace of BigMoeOnEdge begins with '{_FIRST}'")
    line = read_line(file, where, 2).strip()
    told = _MODEL.fullmatch(line)
    if told is None:
        raise DipsimError(
            f"{where}: line 2: got {line[:100]!r}; must be '# model=.. arch=.. n_layer=.. n_expert=.. n_expert_used=..'"
        )
    n_layers, n_experts, per_token = (int(told[i]) for i in (3, 4, 5))
    if not (1 <= n_layers <= _MOST_LAYERS and 1 <= per_token <= n_experts <= _MOST_EXPERTS):
        raise DipsimError(
            f"{where}: line 2: got {n_layers} layers, {per_token} of {n_experts} experts; from 1 to {_MOST_LAYERS} "
            f"layers and {_MOST_EXPERTS} experts"
        )
    layers: list[tuple[int, int]] = []
    for number in range(3, 3 + n_layers):
        line = read_line(file, where, number).strip()
        own = _LAYER.fullmatch(line)
        if own is None or int(own[1]) != len(layers):
            raise DipsimError(
                f"{where}: line {number}: got {line[:100]!r}; must be '# layer={len(layers)} expert_bytes=.. "
                f"dense_bytes=..', one for each of {n_layers} layers"
            )
        layers.append((int(own[2]), int(own[3])))
    line = read_line(file, where, 3 + n_layers).strip()
    if line != _COLUMNS:
        raise DipsimError(f"{where}: line {3 + n_layers}: got {line[:100]!r}; must be '{_COLUMNS}'")
    experts, dense = zip(*layers, strict=True)
    return Header(told[1], told[2], n_layers, n_experts, per_token, [*experts], [*dense], 3 + n_layers)


def _check_bytes(block: Block, layers: np.ndarray, n_bytes: np.ndarray, expert_bytes: list[int]) -> None:
    known = np.array(expert_bytes, np.float64)[layers]
    bad = np.flatnonzero(~((n_bytes == 0) | (n_bytes == known)))
    if bad.size:
        row = int(bad[0])
        block.refuse(
            row,
            f"expert_bytes: got {n_bytes[row]:.12g}; an expert of layer {layers[row]} has {known[row]:.12g}, "
            "and 0 says that nothing was read",
        )

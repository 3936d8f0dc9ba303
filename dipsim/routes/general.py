"""The form of routes that any engine's can be brought to: CSV or Parquet with named columns.

    sequence,token,layer,expert,weight,prompt
    0,0,0,49,0.221297,1

One row says that a token used an expert in a layer. `sequence` and `token` count from 0, prompt included; `weight` is
that of the expert in the token's sum; `prompt`, which may be left out, is 1 for tokens of the prompt and 0 for those
that were decoded. Columns and rows may come in any order, lines that begin with # are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dipsim.errors import DipsimError, suggestion
from dipsim.kernels import Float64Array
from dipsim.routes.rows import Block, OnProgress, check_rows, csv_blocks, open_binary, read_line
from dipsim.routes.table import Table

COLUMNS = ("sequence", "token", "layer", "expert", "weight")
_PROMPT = "prompt"
_MOST_COMMENTS = 10_000
_PARQUET_ROWS = 2**16


def read_general(path: Path, n_layers: int, n_experts: int, on_progress: OnProgress) -> Table:
    """What the file holds.

    Args:
        path: a name in `.parquet`, or CSV.
        n_layers, n_experts: of the model.
        on_progress: is called with how much is done and how much there is.

    Raises:
        DipsimError: no such file, or not what it should be, with the line (CSV) or row (Parquet, from 1).
    """
    is_parquet = path.suffix == ".parquet"
    table = Table(f"{path}: {'row' if is_parquet else 'line'}", n_layers, n_experts)
    for names, block in _parquet(path, on_progress) if is_parquet else _csv(path, on_progress):
        columns = dict(zip(names, block.columns.T, strict=True))
        prompt = columns.get(_PROMPT, np.zeros(block.numbers.size))
        own = [columns[name] for name in COLUMNS[:4]]
        table.add(block, np.stack([*own, prompt, columns["weight"]], axis=1))
    return table


def _csv(path: Path, on_progress: OnProgress) -> Iterator[tuple[Sequence[str], Block]]:
    where = str(path)
    with open_binary(path) as file:
        number, line = 0, "#"
        while line.startswith("#") and number < _MOST_COMMENTS:
            number += 1
            line = read_line(file, where, number)
        names = [name.strip().strip('"') for name in line.split(",")]
        _check_names(names, f"{where}: line {number}")
        for block in csv_blocks(file, where, names, number, on_progress):
            yield names, block


def _parquet(path: Path, on_progress: OnProgress) -> Iterator[tuple[Sequence[str], Block]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    where, n_rows = str(path), 0
    with open_binary(path) as file:
        try:
            opened = pq.ParquetFile(file)
            names = list(opened.schema_arrow.names)
            _check_names(names, where)
            total = opened.metadata.num_rows
            check_rows(where, total)
            for batch in opened.iter_batches(_PARQUET_ROWS):
                numbers = np.arange(n_rows + 1, n_rows + batch.num_rows + 1)
                n_rows += batch.num_rows
                check_rows(where, n_rows)
                if batch.num_rows:
                    columns = [_numbers(column.cast(pa.float64(), safe=False)) for column in batch.columns]
                    yield names, Block(f"{where}: row", numbers, np.stack(columns, axis=1))
                on_progress(n_rows, total)
        except (pa.ArrowException, OSError) as error:
            raise DipsimError(f"{where}: not a Parquet file of numbers: {' '.join(str(error).split())[:200]}") from None


def _numbers(column: object) -> Float64Array:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)  # type: ignore[attr-defined]


def _check_names(names: Sequence[str], where: str) -> None:
    known = (*COLUMNS, _PROMPT)
    for name in names:
        if name not in known:
            raise DipsimError(f"{where}: column {name[:40]!r}: unknown{suggestion(name[:40], known)}")
    missing = [name for name in COLUMNS if name not in names]
    if missing or len({*names}) != len(names):
        what = f"no column '{missing[0]}'" if missing else "a column twice"
        raise DipsimError(f"{where}: has {what}; must be {', '.join(COLUMNS)} and, if there are prompts, {_PROMPT}")

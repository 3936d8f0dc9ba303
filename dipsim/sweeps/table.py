"""What may a table of results hold: its columns' kinds, and how much it may unpack to, known before it is read."""

from __future__ import annotations

import itertools
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from dipsim.errors import DipsimError
from dipsim.results.columns import meaning_of

_REQUIRED = ("key", "error", "dipsim_version")
_LOOKED_AT = (*_REQUIRED, "tok_per_s")  # value by value, not by their kind alone
_MOST_COLUMNS = 5000
_MOST_INTEGER = 2**63  # beside 0
# What a table unpacks to grows with its file: a row has a key and numbers of its own, which do not shrink to nothing.
_ROOM_BYTES, _ROOM_PER_BYTE = 2**25, 100


def read_table(path: Path) -> pa.Table:
    """A file's table, every column of a kind that results have.

    Raises:
        DipsimError: it is missing, damaged, none of results, or unpacks to far more than a table of its length would.
    """
    where = f"results '{path}'"
    if not path.is_file():  # a pipe would not open until somebody writes to it
        raise DipsimError(f"{where}: cannot be read: no such file")
    try:
        table = _unpacked(path, where)
    except DipsimError:
        raise
    except Exception as error:  # whatever pyarrow makes of a stranger's file
        if not _begins_as_parquet(path):
            raise DipsimError(f"{where}: no table of results; give the folder that dipsim sweep made") from None
        raise DipsimError(f"{where}: cannot be read: {str(error)[:200]}") from None
    check_columns(table, where)
    return table


def _begins_as_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def check_row(row: object, where: str) -> None:
    """Refuses a run's row that could not stand in a table.

    Raises:
        DipsimError: it is no row, or the first column that is wrong.
    """
    if not isinstance(row, dict):
        raise DipsimError(f"{where}: got {type(row).__name__}; must be a run's columns")
    columns = {}
    for name, value in row.items():
        kind = type(value).__name__
        if name not in _LOOKED_AT and _is_plain(name) and _is_plain(value) and _is_right(name, kind):
            continue
        try:
            columns[name] = pa.array([value])
        except Exception:  # whatever pyarrow makes of a stranger's values
            raise _wrong(where, name, value, "values of one kind") from None
    check_columns(pa.table(columns), where)


def _is_plain(value: object) -> bool:
    """A value that a table can hold, whichever of its kind it is."""
    if isinstance(value, str):
        return value.isascii()  # not all characters can be written
    if isinstance(value, int):
        return -_MOST_INTEGER < value < _MOST_INTEGER
    return value is None or isinstance(value, float)


@lru_cache(maxsize=_MOST_COLUMNS)
def _is_right(name: str, kind: str) -> bool:
    """Whether a column may hold a kind of plain values: the same for all of a hundred thousand rows."""
    examples = {"str": "", "bool": False, "int": 0, "float": 0.0, "NoneType": None}
    return kind in examples and _rule(name, pa.array([examples[kind]]).type)[0]


def check_columns(table: pa.Table, where: str) -> None:
    """Refuses a table with columns that results do not have, or without those that they need.

    Raises:
        DipsimError: the first that is wrong.
    """
    for name in _REQUIRED:
        if name not in table.column_names:
            raise DipsimError(f"{where}: {name}: missing; it is required")
    for field, column in zip(table.schema, table.columns, strict=True):
        is_right, rule = _rule(field.name, field.type)
        if field.name in ("key", "dipsim_version"):
            is_right &= column.null_count == 0
        if field.name == "tok_per_s" and is_right:
            is_right, rule = _is_positive(column), "a number above 0"
        if not is_right:
            raise _wrong(where, field.name, column[0].as_py() if len(column) == 1 else str(field.type), rule)


def _wrong(where: str, name: str, got: object, rule: str) -> DipsimError:
    return DipsimError(f"{where}: {name[:60]}: got {repr(got)[:60]}; must be {rule}")


def _rule(name: str, kind: pa.DataType) -> tuple[bool, str]:
    """Whether a column may have the kind, and which it must have; nothing at all is any."""
    must_be = None if pa.types.is_null(kind) else meaning_of(name).kind
    if must_be == "text":
        return _is_text(kind), "text"
    if must_be == "number":
        return _is_number(kind), "a number"
    if must_be == "list":
        return pa.types.is_list(kind) and _is_scalar(kind.value_type), "a list"
    for _ in range(2):  # a curve is a list of lists
        kind = kind.value_type if pa.types.is_list(kind) else kind
    return _is_scalar(kind), "text, a number, true or false, or a list of such"


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_scalar(kind: pa.DataType) -> bool:
    return bool(_is_number(kind) or _is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind))


def _is_positive(column: pa.ChunkedArray) -> bool:
    given = column.drop_null()
    return len(given) == 0 or bool(pc.all(pc.and_(pc.is_finite(given), pc.greater(given, 0))).as_py())


def _unpacked(path: Path, where: str) -> pa.Table:
    room = _ROOM_BYTES + _ROOM_PER_BYTE * path.stat().st_size
    with parquet.ParquetFile(path) as file:
        schema, about = file.schema_arrow.remove_metadata(), file.metadata
    if about.num_columns > _MOST_COLUMNS or len(set(schema.names)) < len(schema.names):
        raise DipsimError(f"{where}: got {about.num_columns} columns; at most {_MOST_COLUMNS}, each once")
    check_columns(schema.empty_table(), where)
    chunks = [
        about.row_group(i).column(j)
        for i, j in itertools.product(range(about.num_row_groups), range(about.num_columns))
    ]
    declared = sum(max(8 * chunk.num_values, chunk.total_uncompressed_size) for chunk in chunks)
    texts = [chunk.path_in_schema for chunk in chunks[: about.num_columns] if "BYTE_ARRAY" in chunk.physical_type]
    if max(declared, 8 * about.num_rows) <= room:
        # A text that stands in a million rows is there once, and so it stays until its copies are counted.
        with parquet.ParquetFile(path, read_dictionary=texts) as file:
            table = file.read(use_threads=False)
        table.validate(full=True)
        if sum(map(_text_bytes, itertools.chain.from_iterable(column.chunks for column in table.columns))) <= room:
            return table.cast(schema)
    raise DipsimError(
        f"{where}: would unpack to far more than its {path.stat().st_size:,} bytes; no sweep's table does"
    )


def _text_bytes(values: pa.Array) -> int:
    """Of all texts, each as often as it stands there."""
    while pa.types.is_list(values.type):
        values = values.flatten()
    if not pa.types.is_dictionary(values.type):
        return 0
    return pc.sum(pc.binary_length(values.dictionary).take(values.indices)).as_py() or 0

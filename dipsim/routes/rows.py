"""The rows of a file of routes: numbers in named columns, block by block, and where in the file each stands."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np

from dipsim.documents import open_regular
from dipsim.errors import DipsimError
from dipsim.kernels import Float64Array, Int64Array

# All rows are held in memory, at most in some 100 bytes each.
MOST_ROWS = 2**25
_MOST_LINE_BYTES = 4096
_BLOCK_ROWS = 2**16

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Block:
    """Some rows.

    Attributes:
        where: the file, and how its rows are called: `FILE: line` or `FILE: row`.
        numbers: of each row, from 1, [row].
        columns: float64 [row, column]; NaN also where nothing stands.
    """

    where: str
    numbers: Int64Array
    columns: Float64Array

    def refuse(self, row: int, what: str) -> NoReturn:
        """Says what is wrong with a row.

        Raises:
            DipsimError: always.
        """
        raise DipsimError(f"{self.where} {self.numbers[row]}: {what}")


def open_binary(path: Path) -> BinaryIO:
    """The file, from its beginning.

    Raises:
        DipsimError: missing, unreadable or no regular file.
    """
    return os.fdopen(open_regular(path, str(path)), "rb")


def read_line(file: BinaryIO, where: str, number: int) -> str:
    """The next line, without its end; empty at the end of the file.

    Raises:
        DipsimError: too long, or not UTF-8: it is no such file.
    """
    line = file.readline(_MOST_LINE_BYTES + 1)
    if len(line) > _MOST_LINE_BYTES or b"\0" in line:
        what = "a NUL" if b"\0" in line else f"more than {_MOST_LINE_BYTES} bytes"
        raise DipsimError(f"{where}: line {number} has {what}; not a CSV file of routes")
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        raise DipsimError(f"{where}: line {number} is not UTF-8; not a CSV file of routes") from None


def csv_blocks(
    file: BinaryIO, where: str, names: Sequence[str], n_read: int, on_progress: OnProgress
) -> Iterator[Block]:
    """The rows of a CSV file from where it stands; empty lines and those that begin with `#` are left out.

    Args:
        file: after its header.
        where: its name.
        names: of its columns.
        n_read: lines so far.
        on_progress: is called with bytes done and in all.

    Raises:
        DipsimError: a row of other than one number for each column, or too many rows.
    """
    total, n_rows = os.fstat(file.fileno()).st_size, 0
    is_done = False
    while not is_done:
        lines: list[str] = []
        numbers: list[int] = []
        while len(lines) < _BLOCK_ROWS and not is_done:
            n_read += 1
            line = read_line(file, where, n_read)
            is_done = not line
            if line.strip() and not line.startswith("#"):
                lines.append(line)
                numbers.append(n_read)
        n_rows += len(lines)
        check_rows(where, n_rows)
        if lines:
            yield Block(f"{where}: line", np.array(numbers), _parsed(lines, numbers, where, names))
        on_progress(file.tell(), total)


def check_rows(where: str, n_rows: int) -> None:
    """Refuses more rows than are held.

    Raises:
        DipsimError: there are more.
    """
    if n_rows > MOST_ROWS:
        raise DipsimError(f"{where}: has more than {MOST_ROWS:,} rows, the most that are read; split it by sequences")


def _parsed(lines: list[str], numbers: list[int], where: str, names: Sequence[str]) -> Float64Array:
    try:
        found = np.loadtxt(lines, np.float64, comments=None, delimiter=",", ndmin=2)
        if found.shape == (len(lines), len(names)):
            return found
    except ValueError:
        pass
    return np.array([_one(line, f"{where}: line {number}", names) for line, number in zip(lines, numbers, strict=True)])


def _one(line: str, where: str, names: Sequence[str]) -> list[float]:
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != len(names):
        raise DipsimError(f"{where}: got {len(fields)} fields; must be {len(names)}: {','.join(names)}")
    values = []
    for name, field in zip(names, fields, strict=True):
        try:
            values.append(float(field))
        except ValueError:
            raise DipsimError(f"{where}: {name}: got {field[:40]!r}; must be a number") from None
    return values

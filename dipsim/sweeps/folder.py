"""Where do results stand: a table that absorbs a log of finished runs, so that nothing is lost and nothing twice.

    RESULTS/results.parquet     the table
    RESULTS/_log/KEY.json       a finished run, written whole, until the table has it
    RESULTS/_specs/*.toml       what was swept

A run counts as soon as its file of the log is there. The table is written anew beside the old one and renamed; only
then are files of the log removed, under a lock that sweeps of the same folder share. Killed anywhere in between, a run
is in one of the two, or in both and read once. `pandas.read_parquet` passes over names with an underscore.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from dipsim import __version__
from dipsim.errors import DipsimError
from dipsim.files import check_writable, remove_left, replacing, temporary_of, write_text
from dipsim.sweeps.row import Row, frame_of
from dipsim.sweeps.spec import Spec

_SHARE_OF_TIME = 0.02  # spent on writing the table while a sweep runs, at most
_LEAST_S, _MOST_S = 0.5, 10.0  # between two tables


class Results:
    """The results of a folder.

    Args:
        path: the folder; made if it is not there.

    Raises:
        DipsimError: it is no folder of results, or holds those of another version of dipsim.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log, self._table = path / "_log", path / "results.parquet"
        if path.exists() and not path.is_dir():
            raise DipsimError(f"results: got '{path}'; it is there already and no folder")
        if path.is_dir() and any(path.iterdir()) and not self._log.is_dir():
            raise DipsimError(f"results: got '{path}'; a folder that is not empty and holds no sweep")
        if not self._log.is_dir():
            check_writable(f"results: got '{path}'", path)
        self._log.mkdir(parents=True, exist_ok=True)
        self._rows: dict[str, Row] = {}
        self._table_seen: tuple[int, ...] = ()
        self._read()
        _check_versions({row["dipsim_version"] for row in self._rows.values()}, path)
        self._next_s = 0.0

    def keep_spec(self, spec: Spec) -> None:
        """Keeps what is swept, as it was written."""
        check_writable(f"results: got '{self.path}'", self.path)
        folder = self.path / "_specs"
        folder.mkdir(exist_ok=True)
        name = f"{Path(spec.name).stem}-{hashlib.sha256(spec.text.encode()).hexdigest()[:8]}.toml"
        write_text(folder / name, spec.text)

    def finished(self, key: str) -> bool:
        """Whether the run is there and did not fail: a failed one is tried again."""
        if key not in self._rows:
            self._take_file(self._log_file(key))  # of another sweep of this folder
        return key in self._rows and self._rows[key]["error"] is None

    def keep(self, row: Row) -> None:
        """Keeps a finished run at once, whole or not at all."""
        file = self._log_file(row["key"])
        with temporary_of(file) as temporary:  # what others have left waits: looking for it every time would take long
            temporary.write_text(json.dumps(row), encoding="utf-8")
            temporary.replace(file)
        self._rows[row["key"]] = row

    def row(self, key: str) -> Row:
        """The row of a run that is there."""
        return self._rows[key]

    def frame(self, keys: Sequence[str] | None = None) -> pd.DataFrame:
        """The rows of some runs, in that order, or of all; those that are not there left out."""
        wanted = self._rows if keys is None else keys
        return frame_of([self._rows[key] for key in wanted if key in self._rows])

    def refresh(self, order: Sequence[str]) -> None:
        """Writes the table anew, unless that was done just now; `order` as for `close`."""
        now = time.monotonic()
        if now >= self._next_s:
            with self._locked():
                self._write(order)
            pause_s = (time.monotonic() - now) / _SHARE_OF_TIME
            self._next_s = now + min(max(pause_s, _LEAST_S), _MOST_S)

    def close(self, order: Sequence[str]) -> None:
        """Writes the table with all that is there, and empties the log.

        Args:
            order: keys of the rows that come first; others follow in the order of their keys.
        """
        with self._locked():
            for file in self._write(order):
                file.unlink(missing_ok=True)
            remove_left(self._log)

    def _write(self, order: Sequence[str]) -> list[Path]:
        """Under the lock, so that what other sweeps have put there is not lost. Gives the log's files."""
        files = self._read()
        first = [key for key in order if key in self._rows]
        keys = [*first, *sorted(self._rows.keys() - set(first))]
        if not keys:
            return files
        table = pa.Table.from_pandas(frame_of([self._rows[key] for key in keys]), preserve_index=False)
        with replacing(self._table) as temporary:
            parquet.write_table(table, temporary)
        self._table_seen = _identity(self._table)
        return files

    def _read(self) -> list[Path]:
        """Takes in the log, and the table where somebody has changed it; gives the log's files."""
        files = sorted(self._log.glob("[!.]*.json"))  # a name with a dot is half written, its writer killed
        if self._table.is_file() and (seen := _identity(self._table)) != self._table_seen:
            for row in self._rows_of_table():
                self._take(row)
            self._table_seen = seen
        for file in files:
            if file.stem not in self._rows or self._rows[file.stem]["error"] is not None:
                self._take_file(file)
        return files

    def _rows_of_table(self) -> list[Row]:
        try:
            rows: list[Row] = parquet.read_table(self._table).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(self._table, error) from None
        return rows

    def _take_file(self, file: Path) -> None:
        """A run of the log; nothing where another sweep has moved it into the table just now."""
        try:
            self._take(json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return
        except ValueError as error:
            raise _unreadable(file, error) from None

    def _take(self, row: Row) -> None:
        """Of one run's rows, one that did not fail counts."""
        if row["key"] not in self._rows or row["error"] is None:
            self._rows[row["key"]] = row

    def _log_file(self, key: str) -> Path:
        return self._log / f"{key}.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.path / "_lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def read_results(path: str | Path) -> pd.DataFrame:
    """The table of a folder with what a sweep that runs, or was killed, has left in the log; or a parquet file of its
    kind. One row per run.

    Raises:
        DipsimError: there is none, it is damaged, empty, or of another version of dipsim.
    """
    where = Path(path)
    if not where.exists():
        raise DipsimError(f"results: no such folder, got '{path}'; dipsim sweep SPEC -o RESULTS makes one")
    if any(where.glob("_log/[!.]*.json")):
        return Results(where).frame()
    try:
        frame = pd.read_parquet(where)
    except Exception as error:  # whatever pyarrow makes of a stranger's files
        raise _unreadable(where, error) from None
    if not {"key", "error", "dipsim_version"} <= set(frame.columns) or frame.empty:
        raise DipsimError(f"results '{path}': no runs; dipsim sweep SPEC -o RESULTS makes some")
    _check_versions(set(frame["dipsim_version"]), where)
    return frame


def read_specs(path: str | Path) -> list[tuple[str, str]]:
    """Name and text of every spec that was swept into a folder."""
    return [(file.name, file.read_text(encoding="utf-8")) for file in sorted(Path(path).glob("_specs/[!.]*.toml"))]


def _unreadable(path: Path, error: Exception) -> DipsimError:
    return DipsimError(f"results '{path}': cannot be read: {' '.join(str(error).split())[:200]}")


def _check_versions(found: set[str], path: Path) -> None:
    if others := sorted(found - {__version__}):
        raise DipsimError(
            f"results '{path}': of dipsim {', '.join(others)}, this is {__version__}; sweep into another folder"
        )


def _identity(path: Path) -> tuple[int, ...]:
    about = path.stat()
    return about.st_ino, about.st_mtime_ns, about.st_size

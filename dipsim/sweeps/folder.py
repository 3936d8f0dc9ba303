"""Where do results stand: a table that absorbs a log of finished runs, so that nothing is lost and nothing twice.

    RESULTS/results.parquet     the table
    RESULTS/_log/KEY.json       a finished run, written whole, until the table has it
    RESULTS/_specs/*.toml       what was swept

A run counts as soon as its file of the log is there. The table is written anew beside the old one and renamed; only
then are files of the log removed, under a lock that sweeps of the same folder share. Killed anywhere in between, a run
is in one of the two, or in both and read once. `pandas.read_parquet` passes over names with an underscore.

The table is written while a sweep runs, too, so that the log, which takes longer to read, stays short; the longer that
takes, the less often, so that a hundred thousand runs cost as much each as a hundred.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from dipsim.documents import read_json, read_text
from dipsim.errors import DipsimError
from dipsim.files import check_writable, remove_left, replacing, temporary_of, write_text
from dipsim.sweeps.row import Row, frame_of
from dipsim.sweeps.spec import Spec
from dipsim.sweeps.table import check_row, read_table
from dipsim.version import __version__

_MOST_BYTES = 2**22  # of a run, or a spec
_SHARE_OF_TIME = 0.02  # spent on writing the table while a sweep runs, at most
_LEAST_S = 0.5  # between two tables


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
        for name in ("_log", "_specs", "_lock"):
            if (path / name).is_symlink():
                raise DipsimError(f"results: got '{path}'; its {name} is a link, and what is there may be another's")
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
        """As `close`, unless that was done just now."""
        now = time.monotonic()
        if now >= self._next_s:
            took_s = self._absorb(order)
            self._next_s = now + max(took_s / _SHARE_OF_TIME, _LEAST_S)

    def close(self, order: Sequence[str]) -> None:
        """Writes the table with all that is there, and empties the log.

        Args:
            order: keys of the rows that come first; others follow in the order of their keys.
        """
        self._absorb(order)
        remove_left(self._log)

    def _absorb(self, order: Sequence[str]) -> float:
        """The log into the table; how long the table took, in seconds."""
        began_s = time.monotonic()
        with self._locked():
            files = self._write(order)
            took_s = time.monotonic() - began_s
            for file in files:
                file.unlink(missing_ok=True)
        return took_s

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
        if self._is_changed():
            seen = _identity(self._table)
            for row in read_table(self._table).to_pylist():
                self._take(row)
            self._table_seen = seen
        wanted = [file for file in files if file.stem not in self._rows or self._rows[file.stem]["error"] is not None]
        are_there = [self._take_file(file) for file in wanted]
        return files if all(are_there) or not self._is_changed() else self._read()

    def _is_changed(self) -> bool:
        """Whether there is a table that this has neither read nor written."""
        return self._table.is_file() and _identity(self._table) != self._table_seen

    def _take_file(self, file: Path) -> bool:
        """A run of the log; false where another sweep has moved it into the table just now."""
        where = f"results '{file}'"
        try:
            row = read_json(file, where, _MOST_BYTES)
        except DipsimError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return False
            raise
        check_row(row, where)
        if row["key"] != file.stem:
            raise DipsimError(f"{where}: key: got {row['key'][:60]!r}; must be the file's name")
        self._take(row)
        return True

    def _take(self, row: Row) -> None:
        """Of one run's rows, one that did not fail counts."""
        if row["key"] not in self._rows or row["error"] is None:
            self._rows[row["key"]] = row

    def _log_file(self, key: str) -> Path:
        return self._log / f"{key}.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(self.path / "_lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(lock).st_mode):
                raise DipsimError(f"results '{self.path / '_lock'}': no regular file; nobody can wait for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


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
    table = where / "results.parquet" if where.is_dir() else where
    frame: pd.DataFrame = read_table(table).to_pandas() if table.exists() else pd.DataFrame()
    if frame.empty:
        raise DipsimError(f"results '{path}': no runs; dipsim sweep SPEC -o RESULTS makes some")
    _check_versions(set(frame["dipsim_version"]), where)
    return frame


def read_specs(path: str | Path) -> list[tuple[str, str]]:
    """Name and text of every spec that was swept into a folder.

    Raises:
        DipsimError: one cannot be read.
    """
    files = sorted(Path(path).glob("_specs/[!.]*.toml"))
    return [(file.name, read_text(file, f"results '{file}'", _MOST_BYTES)) for file in files]


def _check_versions(found: set[str], path: Path) -> None:
    if others := sorted(found - {__version__}):
        raise DipsimError(
            f"results '{path}': of dipsim {', '.join(others)}, this is {__version__}; sweep into another folder"
        )


def _identity(path: Path) -> tuple[int, ...]:
    about = path.stat()
    return about.st_ino, about.st_mtime_ns, about.st_size

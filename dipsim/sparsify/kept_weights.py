"""Which dequantised weights are kept for the next time: in the user's cache folder, until newer ones need the room.

An entry is `NAME-CONTENT.safetensors` with a `NAME-CONTENT.json` beside it, which says what it was made from, and whose
lock is held by who makes or reads it. It depends on the file's content and on the code that makes it. Half-written
ones never bear the name of an entry; one that does not hold what is asked for is made anew.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
from torch import Tensor

from dipsim.errors import DipsimWarning
from dipsim.files import remove_left, replacing, user_cache
from dipsim.model import gguf_files
from dipsim.model.gguf_files import GgufFile
from dipsim.units import parse_bytes, scaled

LIMIT, DEFAULT_LIMIT = "DIPSIM_GGUF_CACHE", "20GB"
Shapes = dict[str, tuple[int, ...]]


def kept(file: GgufFile, content: str, shapes: Shapes, made: Callable[[str], Tensor]) -> dict[str, Tensor]:
    """The weights, float32 by name: those that are kept, else made, and kept where there is room.

    Args:
        file: what they are made from.
        content: hash of its content.
        shapes: the names, and what is to be in each.
        made: makes one.

    Raises:
        DipsimError: the limit is no amount of bytes.
    """
    n_bytes = 4 * sum(map(math.prod, shapes.values()))
    limit = parse_bytes(os.environ.get(LIMIT) or DEFAULT_LIMIT, LIMIT)
    try:
        if n_bytes > limit:
            raise OSError(errno.EFBIG, f"they are {scaled(n_bytes, 'B')} and {LIMIT} allows {scaled(limit, 'B')}")
        entry = _entry(file, content)
        with _locked(entry):
            if (weights := _read(entry, shapes)) is not None:
                return weights
            _make_room(entry.parent, limit - n_bytes, n_bytes)
            _write(entry, shapes, made)
            _describe(entry, file, n_bytes)
            if (weights := _read(entry, shapes)) is not None:
                return weights
            raise OSError(errno.EIO, "they do not read as they were written")
    except OSError as error:
        if limit:
            reason = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
            message = f"{file.name}: dequantised weights are not kept for the next time: {reason}"
            warnings.warn(message, DipsimWarning, stacklevel=2)
    return {name: made(name) for name in shapes}


def _entry(file: GgufFile, content: str) -> Path:
    code = b"".join(path.read_bytes() for path in sorted(Path(str(gguf_files.__file__)).parent.glob("*.py")))
    key = hashlib.sha256(content.encode() + code).hexdigest()[:16]
    folder = user_cache() / "gguf"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', file.name)[:100].lstrip('.')}-{key}.safetensors"


@contextmanager
def _locked(entry: Path, wait: bool = True) -> Iterator[None]:
    """Nobody else makes, reads or removes the entry. Who waits does so until the other has made it.

    Raises:
        BlockingIOError: somebody else does, and `wait` is not set.
    """
    lock, path = -1, entry.with_suffix(".json")
    try:
        while True:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.fstat(lock).st_nlink:
                break
            os.close(lock)  # it was removed meanwhile
            lock = -1
        yield
    finally:
        if lock >= 0:
            os.close(lock)


def _read(entry: Path, shapes: Shapes) -> dict[str, Tensor] | None:
    """None where there is no such entry, or one that does not hold these."""
    try:
        weights = safetensors.torch.load_file(entry)
        os.utime(entry)
    except (OSError, safetensors.SafetensorError):
        return None
    return weights if {name: tuple(one.shape) for name, one in weights.items()} == shapes else None


def _make_room(folder: Path, most_bytes: int, n_bytes: int) -> None:
    """Removes entries, the one used longest ago first, until the others are few enough; not those in use.

    Raises:
        OSError: there is no room even so.
    """
    remove_left(folder)
    entries = sorted(((path.stat().st_mtime, path) for path in folder.glob("*.safetensors")), reverse=True)
    sizes = {path: path.stat().st_size for _, path in entries}
    while sum(sizes.values()) > most_bytes and entries:
        _, oldest = entries.pop()
        try:
            with _locked(oldest, wait=False):
                oldest.unlink()
                oldest.with_suffix(".json").unlink()
        except BlockingIOError:
            continue
        del sizes[oldest]
    if sum(sizes.values()) > most_bytes:
        raise OSError(errno.EDQUOT, f"those in use leave too little of what {LIMIT} allows")
    if shutil.disk_usage(folder).free < n_bytes:
        raise OSError(errno.ENOSPC, f"no room for {scaled(n_bytes, 'B')}", str(folder))


def _write(entry: Path, shapes: Shapes, made: Callable[[str], Tensor]) -> None:
    """One weight after another, so that no more than the largest is held in memory.

    Format: https://github.com/huggingface/safetensors#format.
    """
    table, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * math.prod(shape)
        table[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    head = json.dumps(table).encode()
    head += b" " * (-len(head) % 8)
    with replacing(entry) as temporary, temporary.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for name in shapes:
            made(name).numpy().astype("<f4", copy=False).tofile(file)


def _describe(entry: Path, file: GgufFile, n_bytes: int) -> None:
    about = {
        "model": file.name,
        "made_from": [str(part.resolve()) for part in file.parts],
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "bytes": n_bytes,
        "last_used": "when the .safetensors was last changed",
    }
    entry.with_suffix(".json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

"""Where does a trace lie that is named by a URL: a copy on this machine, made once."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from dipsim.errors import DipsimError
from dipsim.files import replacing, user_cache
from dipsim.installation import how_to_add


def local_copy(path: str | Path) -> Path:
    """The path itself; of a URL that fsspec knows (`s3://bucket/trace.zarr.zip`), a copy in the user's cache.

    The copy is made anew when what lies at the URL has changed. Reading it is as fast as of any file, which chunk by
    chunk over a network would not be.

    Raises:
        DipsimError: fsspec or what it needs for the URL is missing, there is no such file, or it is a folder.
    """
    url = str(path)
    if "://" not in url:
        return Path(path)
    try:
        import fsspec
    except ModuleNotFoundError:
        raise DipsimError(f"{url}: fsspec is not installed; {how_to_add('cluster')}") from None
    try:
        files, where = fsspec.core.url_to_fs(url)
        return _copied(files, where, url)
    except DipsimError:
        raise
    except Exception as error:  # whatever a file system of somebody else's raises
        raise DipsimError(f"{url}: cannot be fetched: {type(error).__name__}: {' '.join(str(error).split())}") from None


def _copied(files: Any, where: str, url: str) -> Path:
    kind = files.info(where)["type"]
    if kind != "file":  # `file:///dev/zero` has no end
        raise DipsimError(f"{url}: is a {kind}, no file; a trace at a URL is one file, NAME.zarr.zip")
    state = hashlib.sha256(f"{url} {files.ukey(where)}".encode()).hexdigest()[:32]
    copy = user_cache() / f"{state}.zarr.zip"
    if not copy.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        with replacing(copy) as temporary:
            files.get_file(where, str(temporary))
    return copy

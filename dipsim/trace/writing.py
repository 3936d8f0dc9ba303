"""Writes a trace chunk by chunk to a temporary name; it gets its own name when it is complete."""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from dipsim.errors import DipsimError
from dipsim.files import check_output, replacing
from dipsim.model import ModelSpec
from dipsim.trace.format import ATTRIBUTE, CHUNK_TOKENS, FORMAT_VERSION, TraceAttributes, site_columns


class TraceWriter:
    """Streams scores to disk. Use it as a context manager: leaving it by an error removes what was written.

    Args:
        path: `NAME.zarr` (a directory) or `NAME.zarr.zip`.
        model: the model the scores come from.
        sites: sites to be written.
        token_ids: [token], prompts left out.
        sequence_lengths: recorded tokens of each sequence.
        prompt_lengths: tokens before them, one number per sequence.
        source, masking: how the scores came to be, as plain data.
        force: replace what is there already.

    Raises:
        DipsimError: the path exists already, has another ending, or the lengths do not add up.
    """

    def __init__(
        self,
        path: str | Path,
        model: ModelSpec,
        sites: Sequence[str],
        token_ids: NDArray[np.integer[Any]],
        sequence_lengths: Sequence[int],
        prompt_lengths: Sequence[int],
        source: dict[str, Any],
        masking: dict[str, Any],
        force: bool = False,
    ) -> None:
        self.path = Path(path)
        if not self.path.name.endswith((".zarr", ".zarr.zip")):
            raise DipsimError(f"output: got '{path}'; a trace ends in .zarr (a directory) or .zarr.zip (one file)")
        check_output(self.path, force)
        if sum(sequence_lengths) != len(token_ids) or not len(token_ids):
            raise DipsimError(
                f"{path}: sequence lengths: got a sum of {sum(sequence_lengths)} for {len(token_ids)} tokens"
            )
        self._attributes = TraceAttributes(
            format_version=FORMAT_VERSION,
            model=model,
            source=source,
            masking=masking,
            prompt_lengths=list(prompt_lengths),
            dipsim_version=version("dipsim"),
        )
        self._model = model
        self._sites = tuple(sites)
        self._token_ids = np.asarray(token_ids, np.int32)
        self._sequence_ids = np.repeat(np.arange(len(sequence_lengths), dtype=np.int32), sequence_lengths)
        self._folder = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")

    def __enter__(self) -> Self:
        try:
            self._create()
        except BaseException:
            self._remove_unfinished()
            raise
        return self

    def _create(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        group = zarr.create_group(LocalStore(self._folder), zarr_format=3)
        for name, values in (("token_ids", self._token_ids), ("sequence_ids", self._sequence_ids)):
            group.create_array(name, data=values, config={"write_empty_chunks": True})
        self._scores = {
            site: group.create_array(
                f"scores/{site}",
                shape=(self._token_ids.size, self._model.n_layers, site_columns(self._model, site)),
                chunks=(CHUNK_TOKENS, 1, site_columns(self._model, site)),
                dtype="float16",
                compressors=[BloscCodec(cname="zstd", clevel=5, shuffle="shuffle", typesize=2), Crc32cCodec()],
                config={"write_empty_chunks": True},
            )
            for site in self._sites
        }
        self._group = group

    def write(self, site: str, layer: int, start: int, scores: NDArray[np.float16]) -> None:
        """Scores [token, column] of one layer, for the tokens from `start` on."""
        self._scores[site][start : start + len(scores), layer] = scores

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                # Written last: a trace without it was never completed.
                self._group.attrs[ATTRIBUTE] = self._attributes.model_dump(mode="json")
                self._publish()
        finally:
            self._remove_unfinished()

    def _remove_unfinished(self) -> None:
        """zarr writes in a thread of its own, which may still finish a chunk after an interrupt."""
        while self._folder.exists():
            shutil.rmtree(self._folder, ignore_errors=True)
            time.sleep(0.05)

    def _publish(self) -> None:
        if self.path.is_dir():
            shutil.rmtree(self.path)
        if self.path.name.endswith(".zip"):
            with replacing(self.path) as packed:
                _pack(self._folder, packed)
        else:
            self._folder.replace(self.path)


def _pack(folder: Path, target: Path) -> None:
    """One file of the folder's; chunks are compressed already. Sorted and undated: same scores, same bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
                with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as sink:
                    shutil.copyfileobj(source, sink)

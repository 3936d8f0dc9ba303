"""Writes a trace chunk by chunk to a temporary name; it gets its own name when it is complete."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from dipsim import kernels
from dipsim.errors import DipsimError
from dipsim.files import check_output, check_writable, remove_left, replacing, temporary_of
from dipsim.model import ModelSpec
from dipsim.model.groups import site_width
from dipsim.trace.arrays import StoredArray
from dipsim.trace.compact import encoded, padded, row_bytes
from dipsim.trace.format import (
    ATTRIBUTE,
    CHUNK_TOKENS,
    FORMAT_VERSIONS,
    MOST_CHUNKS,
    MOST_TOKENS,
    MOST_ZIPPED_CHUNKS,
    Scores,
    TraceAttributes,
)
from dipsim.trace.members import Folder
from dipsim.trace.plain_chunks import PlainChunks
from dipsim.version import __version__

if TYPE_CHECKING:  # a fifth of a second that reading a trace has no use for
    import zarr
    from zarr.core.chunk_key_encodings import ChunkKeyEncodingLike

# Chunks beside each other in one folder: making folders would take as long as writing.
_FLAT: ChunkKeyEncodingLike = {"name": "default", "separator": "."}
_SECONDS_FOR_ZARR = 10


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
        compact: keep scores in nine bits each, as `trace/compact.py` says, once all of them are there.
        chosen_per_token: of how many columns the scores are known, where the others are written as 0.
        with_prompt: scores of the prompts' tokens are written too, by `write_prompt`.

    Raises:
        DipsimError: the path exists already, has another ending, or the lengths do not add up; on leaving, that scores
            are missing.
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
        compact: bool = False,
        chosen_per_token: int | None = None,
        with_prompt: bool = False,
    ) -> None:
        self.path = Path(path)
        self._compact = compact
        check_trace_output(self.path, force)
        lengths, prompts = [int(n) for n in sequence_lengths], [int(n) for n in prompt_lengths]
        if sum(lengths) != len(token_ids) or min(lengths, default=0) < 1:
            raise DipsimError(
                f"{path}: sequence lengths: got {lengths} for {len(token_ids)} tokens; must be positive and add up"
            )
        if len(prompts) != len(lengths):
            raise DipsimError(f"{path}: prompt lengths: got {len(prompts)} for {len(lengths)} sequences; one for each")
        if len(set(sites)) != len(sites):
            raise DipsimError(f"{path}: sites: got {', '.join(sites)}; each once")
        n_prompt = sum(prompts) if with_prompt else 0
        _check_size(self.path, model.n_layers, len(sites), len(token_ids) + n_prompt)
        scores: Scores = "compact" if compact else "exact"
        attributes = {
            "format_version": next(version for version, kind in FORMAT_VERSIONS.items() if kind == scores),
            "model": model.model_dump(),
            "source": source,
            "masking": masking,
            "prompt_lengths": prompts,
            "dipsim_version": __version__,
        }
        if chosen_per_token is not None:
            attributes["chosen_per_token"] = chosen_per_token
        parsed = TraceAttributes.parse(attributes, f"{path}: attribute '{ATTRIBUTE}'")
        self._attributes = parsed.model_dump(mode="json", exclude=None if chosen_per_token else {"chosen_per_token"})
        self._model = model
        self._sites = tuple(sites)
        self._token_ids = np.asarray(token_ids, np.int32)
        self._sequence_ids = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        self._temporary = ExitStack()
        # Arrays of scores, and the tokens of each.
        self._n_tokens = {f"scores/{site}": len(token_ids) for site in self._sites}
        if n_prompt:
            self._n_tokens |= {f"prompt/{site}": n_prompt for site in self._sites}
        self._written = {name: np.zeros((model.n_layers, n), np.bool_) for name, n in self._n_tokens.items()}

    def __enter__(self) -> Self:
        remove_left(self.path.parent, self.path.name)
        with ExitStack() as stack:
            folder = stack.enter_context(temporary_of(self.path, is_folder=True))
            stack.callback(_wait_for_zarr)
            self._create(folder)
            self._temporary = stack.pop_all()
        return self

    def _create(self, folder: Path) -> None:
        import zarr
        from zarr.storage import LocalStore

        self._new, self._old = folder / "new", folder / "old"
        group = zarr.create_group(LocalStore(self._new), zarr_format=3)
        for name, values in (("token_ids", self._token_ids), ("sequence_ids", self._sequence_ids)):
            group.create_array(name, data=values, config={"write_empty_chunks": True})
        self._group, self._plainly = group, group if not self._compact else zarr.create_group(folder / "exact")
        self._scores = {}
        for name, n_tokens in self._n_tokens.items():
            folder_of, _, site = name.partition("/")
            at = self._plainly if folder_of == "scores" else group
            self._scores[name] = self._array(at, name, n_tokens, site_width(self._model, site), "float16")
        self._plain = {name: PlainChunks.of(scores) for name, scores in self._scores.items()}

    def _array(self, group: zarr.Group, name: str, n_tokens: int, width: int, dtype: str) -> zarr.Array[Any]:
        from zarr.codecs import Crc32cCodec

        # Ten bits of eleven are noise in a score: compression saves a seventh of the bytes and makes reading several
        # times slower (benchmarks/speed/store.py). The checksum refuses a damaged chunk.
        return group.create_array(
            name,
            shape=(n_tokens, self._model.n_layers, width),
            chunks=(CHUNK_TOKENS, 1, width),
            dtype=dtype,
            compressors=[Crc32cCodec()],
            chunk_key_encoding=_FLAT,
            config={"write_empty_chunks": True},
        )

    def write(self, site: str, layer: int, start: int, scores: NDArray[np.float16]) -> None:
        """Scores [token, column] of one layer, for the tokens from `start` on.

        Raises:
            DipsimError: no such site or place, or a score is NaN, infinite or negative.
        """
        self._write(f"scores/{site}", layer, start, scores)

    def write_prompt(self, site: str, layer: int, start: int, scores: NDArray[np.float16]) -> None:
        """The same of the prompts' tokens, those of all sequences one after another. All of a token's are 0 where the
        layer did not run it.

        Raises:
            DipsimError: as `write`.
        """
        self._write(f"prompt/{site}", layer, start, scores)

    def _write(self, name: str, layer: int, start: int, scores: NDArray[np.float16]) -> None:
        where, stop, n_tokens = f"{self.path}: {name}", start + len(scores), self._n_tokens.get(name, 0)
        if not (0 <= layer < self._model.n_layers and 0 <= start < stop <= n_tokens):
            raise DipsimError(
                f"{where}: got layer {layer}, tokens {start} to {stop}; the trace has sites {', '.join(self._sites)}, "
                f"{self._model.n_layers} layers, {n_tokens} tokens"
            )
        with np.errstate(over="ignore"):  # what becomes infinite is refused below
            exact = np.array(scores, np.float16, order="C")
        bad = kernels.clean_scores(exact.view(np.uint16).reshape(-1))
        if bad >= 0:
            token, column = np.unravel_index(bad, exact.shape)
            raise DipsimError(
                f"{where}: token {start + int(token)}, layer {layer}, column {column}: got {scores[token, column]}; "
                "scores are finite and not negative"
            )
        plain = self._plain[name]
        n_written = plain.write(start, layer, exact.view(np.uint16)) if plain is not None else 0
        if start + n_written < stop:
            self._scores[name][start + n_written : stop, layer] = exact[n_written:]
        self._written[name][layer, start:stop] = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._temporary.__exit__(kind, error, traceback)
            return
        with self._temporary:
            self._check_complete()
            if self._compact:
                self._make_compact()
            # Written last: a trace without it was never completed.
            self._group.attrs[ATTRIBUTE] = self._attributes
            self._publish()

    def _make_compact(self) -> None:
        """Site after site, since which scores share a code depends on all of a block; the exact ones go as they are
        done with."""
        n_tokens, exact = self._token_ids.size, self._new.with_name("exact")
        for site in self._sites:
            n_columns = site_width(self._model, site)
            own = StoredArray.of(Folder(exact, str(self.path)), f"scores/{site}", str(self.path))
            array = self._array(self._group, f"scores/{site}", padded(n_tokens), row_bytes(n_columns), "uint8")
            stored, made = cast(StoredArray, own), cast(PlainChunks, PlainChunks.of(array))  # as `_array` makes them
            for start, layer in itertools.product(range(0, n_tokens, CHUNK_TOKENS), range(self._model.n_layers)):
                stop = min(start + CHUNK_TOKENS, n_tokens)
                block = stored.read((start, stop), (layer, layer + 1), (0, n_columns))[:, 0]
                made.write(start, layer, encoded(block.view(np.uint16)))
            shutil.rmtree(exact / "scores" / site)

    def _check_complete(self) -> None:
        for name, written in self._written.items():
            if not written.all():
                layer, token = np.argwhere(~written)[0]
                raise DipsimError(
                    f"{self.path}: {name}: {np.count_nonzero(~written)} of {written.size} tokens x layers were "
                    f"never written, the first at layer {layer}, token {token}"
                )

    def _publish(self) -> None:
        if self.path.name.endswith(".zip"):
            with replacing(self.path) as packed:
                _pack(self._new, packed)
            return
        if not self.path.exists():
            self._new.replace(self.path)
            return
        self.path.replace(self._old)
        try:
            self._new.replace(self.path)
        except OSError:
            self._old.replace(self.path)
            raise


def _wait_for_zarr() -> None:
    """zarr writes in a thread of its own, which goes on after an interrupt, and would make a removed folder anew."""
    from zarr.core.sync import sync

    async def others() -> None:
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks, timeout=_SECONDS_FOR_ZARR)

    sync(others())


def check_trace_output(path: Path, force: bool) -> None:
    """Refuses a path that cannot become a trace, before any work is done.

    Raises:
        DipsimError: its name ends in neither form, it exists and `force` is not set, or it is no trace to be replaced.
    """
    if not path.name.endswith((".zarr", ".zarr.zip")):
        raise DipsimError(f"output: got '{path}'; a trace ends in .zarr (a directory) or .zarr.zip (one file)")
    if path.is_dir() and path.name.endswith(".zarr"):
        if not force:
            raise DipsimError(f"output: '{path}' exists already; give --force to replace it")
        if not (path / "zarr.json").is_file():
            raise DipsimError(f"output: '{path}' is a directory but no Zarr v3 group; it will not be replaced")
        check_writable(f"output: got '{path}'", path.parent)
        return
    check_output(path, force)
    if path.is_file() and path.name.endswith(".zarr"):
        raise DipsimError(f"output: '{path}' is a file; a name in .zarr is a directory, .zarr.zip one file")


def _check_size(path: Path, n_layers: int, n_sites: int, n_tokens: int) -> None:
    """Refuses what could be written but not be read again."""
    n_chunks = n_layers * -(-n_tokens // CHUNK_TOKENS)
    if n_tokens > MOST_TOKENS or n_chunks > MOST_CHUNKS:
        raise DipsimError(
            f"{path}: got {n_tokens:,} tokens in {n_chunks:,} chunks a site; "
            f"at most {MOST_TOKENS:,} and {MOST_CHUNKS:,}"
        )
    if path.name.endswith(".zip") and n_sites * n_chunks > MOST_ZIPPED_CHUNKS:
        raise DipsimError(
            f"{path}: got {n_sites * n_chunks:,} chunks; "
            f"at most {MOST_ZIPPED_CHUNKS:,} go into a zip, give a name in .zarr"
        )


def _pack(folder: Path, target: Path) -> None:
    """One file of the folder's; chunks are compressed already. Sorted and undated: same scores, same bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
                with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as sink:
                    shutil.copyfileobj(source, sink)

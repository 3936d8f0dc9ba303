"""Opens a trace without loading it, refuses what is damaged, and hands out blocks of scores."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.storage import LocalStore, ZipStore

from dipsim import kernels, shipped
from dipsim.errors import DipsimError, suggestion
from dipsim.kernels import Uint16Array
from dipsim.model import ModelSpec
from dipsim.trace.certificate import DRIFT_ATTRIBUTE, Certificate, add_certificate, certificates
from dipsim.trace.format import ATTRIBUTE, CHUNK_TOKENS, FORMAT_VERSION, TraceAttributes, site_columns
from dipsim.trace.plain_chunks import PlainChunks
from dipsim.trace.remote import local_copy

_VECTORS = ("token_ids", "sequence_ids")


@dataclass(frozen=True)
class Sequence:
    """Tokens `start` to `stop` (exclusive) of the trace, decoded after a prompt that the trace does not hold."""

    start: int
    stop: int
    prompt_length: int


@dataclass(frozen=True)
class Block:
    """Tokens `start` to `stop` (exclusive) of the trace, all of one sequence."""

    sequence: int
    start: int
    stop: int


@dataclass(frozen=True)
class Trace:
    """Recorded scores; open one with `Trace.open`.

    Attributes:
        path: where it lies, its URL or its name, as it was given to `open`.
        model: the model it was recorded from.
        source: how it came to be.
        masking: the method under which it was captured, as plain data.
        sites: the sites it has scores for.
        sequences: its sequences, in order.
        token_ids: int32 [token].
    """

    path: Path | str
    model: ModelSpec
    source: Any
    masking: Any
    sites: tuple[str, ...]
    sequences: tuple[Sequence, ...]
    token_ids: NDArray[np.int32]
    _scores: dict[str, zarr.Array[Any]]
    _drift: Any = None

    @property
    def n_tokens(self) -> int:
        """Tokens of all sequences, prompts left out."""
        return int(self.token_ids.size)

    @property
    def n_positions(self) -> int:
        """Longest sequence, its prompt included."""
        return max(s.stop - s.start + s.prompt_length for s in self.sequences)

    def __repr__(self) -> str:
        return (
            f"Trace('{self.path}', {self.model.name}, {self.n_tokens} tokens in {len(self.sequences)} sequences, "
            f"sites {', '.join(self.sites)})"
        )

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Opens a directory or `.zarr.zip`, a shipped trace by its name, or a `.zarr.zip` at a URL that fsspec knows.

        Scores are read when asked for; what lies at a URL is copied to this machine first, see `local_copy`.

        Raises:
            DipsimError: missing, half-written, damaged, of an unknown version, or not of the promised shape.
        """
        where, found = path if "://" in str(path) else Path(path), _find(path)
        try:
            group = zarr.open_group(_store(found), mode="r", zarr_format=3)
            attributes = group.attrs.asdict()
        except Exception as error:  # zarr and its codecs raise anything when bytes are not what they should be
            raise DipsimError(f"{where}: not a readable Zarr v3 group: {_one_line(error)}") from None
        parsed = _attributes(attributes, where)
        try:
            arrays = {name: array for name, array in group.members(max_depth=None) if isinstance(array, zarr.Array)}
            n_tokens = _check_vectors(arrays, where)
            scores = {name[7:]: array for name, array in sorted(arrays.items()) if name.startswith("scores/")}
            for site, array in scores.items():
                _check_scores(site, array, n_tokens, parsed.model, where)
            # zeros where no chunk was written, which for these is what their writer meant
            token_ids, sequence_ids = (np.asarray(arrays[name][:], np.int32) for name in _VECTORS)
        except DipsimError:
            raise
        except Exception as error:
            raise DipsimError(f"{where}: damaged: {_one_line(error)}") from None
        sequences = _sequences(sequence_ids, parsed.prompt_lengths, where)
        drift = attributes.get(DRIFT_ATTRIBUTE)
        return cls(
            where, parsed.model, parsed.source, parsed.masking, tuple(scores), sequences, token_ids, scores, drift
        )

    @classmethod
    def planned(
        cls, model: ModelSpec, sites: tuple[str, ...], token_ids: NDArray[np.integer[Any]], n_prompt: int
    ) -> Self:
        """A trace whose scores are yet to be recorded: enough to plan a run, refused where scores are read.

        Args:
            model: the model.
            sites: sites to come.
            token_ids: [sequence, token], prompts left out.
            n_prompt: tokens of the prompt before each sequence.
        """
        n_sequences, n_tokens = token_ids.shape
        starts = [n_tokens * i for i in range(n_sequences)]
        sequences = tuple(Sequence(start, start + n_tokens, n_prompt) for start in starts)
        ids = np.asarray(token_ids.reshape(-1), np.int32)
        return cls(Path("(planned)"), model, None, None, sites, sequences, ids, {})

    def read(self, site: str, start: int, stop: int, layer: int | None = None) -> Uint16Array:
        """Scores of tokens `start` to `stop` as float16 bit patterns: uint16 [token, layer, column], or [token, column]
        of one layer, which is how they lie on disk.

        Raises:
            DipsimError: the site is missing or only planned, a chunk is damaged, or a score is NaN, infinite or
                negative.
        """
        if site in self.sites and site not in self._scores:
            raise DipsimError(
                "trace: its scores are yet to be recorded; choose a budget and a layout that do not measure them"
            )
        if site not in self._scores:
            raise DipsimError(
                f"{self.path}: no scores at site '{site}', got {', '.join(self.sites) or 'none'}; capture them: "
                f"dipsim capture MODEL TEXT --sites {','.join([*self.sites, site])} -o OUT"
            )
        first_layer = layer or 0
        layers = slice(first_layer, None if layer is None else layer + 1)
        try:
            scores = self._plain(site, start, stop, layer)
            if scores is None:
                scores = np.ascontiguousarray(self._scores[site][start:stop, layers])
        except Exception as error:
            raise DipsimError(f"{self.path}: scores/{site} is damaged: {_one_line(error)}") from None
        bits: Uint16Array = scores.view(np.uint16)
        bad = kernels.clean_scores(bits.reshape(-1))
        if bad >= 0:
            token, found, column = np.unravel_index(bad, bits.shape)
            raise DipsimError(
                f"{self.path}: scores/{site}: token {start + int(token)}, layer {first_layer + int(found)}, column "
                f"{column}: got {scores[token, found, column]}; scores are finite and not negative"
            )
        return bits if layer is None else bits[:, 0]

    def _plain(self, site: str, start: int, stop: int, layer: int | None) -> NDArray[np.float16] | None:
        chunks = None if layer is None else self._plain_chunks[site]
        bits = None if chunks is None or layer is None else chunks.read(start, stop, layer)
        return None if bits is None else bits[:, None].view(np.float16)

    @cached_property
    def _plain_chunks(self) -> dict[str, PlainChunks | None]:
        return {site: PlainChunks.of(scores) for site, scores in self._scores.items()}

    @cached_property
    def certificates(self) -> tuple[Certificate, ...]:
        """How far replaying it is from the closed loop, for the runs of which `dipsim drift --certify` said so.

        Raises:
            DipsimError: what is stored is no such thing.
        """
        return certificates(self._drift, str(self.path))

    def certify(self, certificate: Certificate) -> None:
        """Stores a certificate in the file, instead of an earlier one of the same options.

        Raises:
            DipsimError: as `check_may_certify`.
        """
        self.check_may_certify()
        add_certificate(Path(self.path), certificate)

    def check_may_certify(self) -> None:
        """Refuses a trace that is not the user's own.

        Raises:
            DipsimError: it ships with dipsim.
        """
        if _find(self.path) != self.path:
            raise DipsimError(
                f"certify: trace '{self.path}' ships with dipsim and stays as it is; capture one of your own"
            )

    def first(self, n_sequences: int) -> Self:
        """The trace's first sequences."""
        kept = self.sequences[:n_sequences]
        return replace(self, sequences=kept, token_ids=self.token_ids[: kept[-1].stop])

    def blocks(self, n_tokens: int) -> Iterator[Block]:
        """The first `n_tokens` tokens in pieces of one chunk and one sequence: what to hold in memory at once."""
        for index, sequence in enumerate(self.sequences):
            start, last = sequence.start, min(sequence.stop, n_tokens)
            while start < last:
                stop = min(last, (start // CHUNK_TOKENS + 1) * CHUNK_TOKENS)
                yield Block(index, start, stop)
                start = stop


def _find(path: str | Path) -> Path:
    known = shipped.names("traces", ".zarr.zip")
    if str(path) in known:
        return known[str(path)]
    if "://" in str(path):
        return local_copy(path)
    if not Path(path).exists():
        raise DipsimError(
            f"trace: no such file, got '{path}'; a path, or a shipped trace{suggestion(str(path), known)}"
        )
    return Path(path)


def _store(path: Path) -> Store:
    return LocalStore(path, read_only=True) if path.is_dir() else ZipStore(path, mode="r")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _attributes(attributes: dict[str, Any], where: Path | str) -> TraceAttributes:
    own = attributes.get(ATTRIBUTE)
    if not isinstance(own, dict):
        raise DipsimError(f"{where}: no attribute '{ATTRIBUTE}'; not a trace, or one that was never completed")
    if own.get("format_version") != FORMAT_VERSION:
        raise DipsimError(
            f"{where}: format_version: got {own.get('format_version')!r}; this dipsim reads {FORMAT_VERSION}"
        )
    return TraceAttributes.parse(own, f"{where}: attribute '{ATTRIBUTE}'")


def _check_vectors(arrays: dict[str, zarr.Array[Any]], where: Path | str) -> int:
    """The number of tokens, which both vectors must agree on."""
    for name in _VECTORS:
        if name not in arrays:
            raise DipsimError(f"{where}: array '{name}' is missing; got {', '.join(sorted(arrays)) or 'no arrays'}")
        if arrays[name].dtype != np.int32 or arrays[name].ndim != 1 or arrays[name].size == 0:
            raise DipsimError(
                f"{where}: {name}: got {arrays[name].dtype} {list(arrays[name].shape)}; must be int32 [token]"
            )
    n_tokens, n_ids = (int(arrays[name].size) for name in _VECTORS)
    if n_tokens != n_ids:
        raise DipsimError(f"{where}: sequence_ids: got {n_ids} for {n_tokens} tokens; must be as many as token_ids")
    return n_tokens


def _sequences(ids: NDArray[np.int32], prompt_lengths: list[int], where: Path | str) -> tuple[Sequence, ...]:
    edges = [0, *(np.flatnonzero(np.diff(ids)) + 1).tolist(), ids.size]
    if len(np.unique(ids)) != len(edges) - 1:
        raise DipsimError(f"{where}: sequence_ids: a sequence comes back after another; its tokens must be adjacent")
    if len(prompt_lengths) != len(edges) - 1 or min(prompt_lengths) < 0:
        raise DipsimError(
            f"{where}: prompt_lengths: got {prompt_lengths}; must be {len(edges) - 1} counts, one per sequence"
        )
    pairs = zip(itertools.pairwise(edges), prompt_lengths, strict=True)
    return tuple(Sequence(start, stop, prompt) for (start, stop), prompt in pairs)


def _check_scores(site: str, array: zarr.Array[Any], n_tokens: int, model: ModelSpec, where: Path | str) -> None:
    shape = (n_tokens, model.n_layers, site_columns(model, site))
    if array.dtype != np.float16 or array.shape != shape:
        raise DipsimError(
            f"{where}: scores/{site}: got {array.dtype} {list(array.shape)}; "
            f"must be float16 [token, layer, column] = {list(shape)}"
        )
    if array.shards is not None:
        raise DipsimError(f"{where}: scores/{site}: got shards of {list(array.shards)}; write plain chunks")
    # zarr reads a chunk that is not there as zeros, which would pass for scores.
    if array.nchunks_initialized != array.nchunks:
        raise DipsimError(
            f"{where}: scores/{site}: {array.nchunks - array.nchunks_initialized} of {array.nchunks} chunks are "
            "missing; all must be written, all-zero ones too (zarr's write_empty_chunks)"
        )

"""Opens a trace without loading it, refuses what is damaged, and hands out blocks of scores."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dipsim import kernels, shipped
from dipsim.documents import parse_json
from dipsim.errors import DipsimError, suggestion
from dipsim.kernels import Uint16Array
from dipsim.model import ModelSpec
from dipsim.trace.arrays import METADATA, MOST_METADATA_BYTES, StoredArray
from dipsim.trace.certificate import DRIFT_ATTRIBUTE, Certificate, add_certificate, certificates
from dipsim.trace.compact import CompactScores, padded, row_bytes
from dipsim.trace.format import (
    ATTRIBUTE,
    CHUNK_TOKENS,
    FORMAT_VERSIONS,
    MOST_TOKENS,
    Scores,
    TraceAttributes,
    site_columns,
)
from dipsim.trace.members import Members, open_members
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
    _scores: dict[str, StoredArray | CompactScores]
    _drift: Any = None

    @property
    def n_tokens(self) -> int:
        """Tokens of all sequences, prompts left out."""
        return int(self.token_ids.size)

    @property
    def n_positions(self) -> int:
        """Longest sequence, its prompt included."""
        return max(s.stop - s.start + s.prompt_length for s in self.sequences)

    @property
    def has_prompt(self) -> bool:
        """Whether scores of the prompts' tokens are there too; see `prompt_scores`."""
        return False

    def prompt_scores(self, site: str, sequence: int, layer: int) -> Uint16Array:
        """Scores of a sequence's prompt in one layer as float16 bit patterns, uint16 [prompt token, column].

        Raises:
            DipsimError: they are not there.
        """
        raise DipsimError(f"{self.path}: no scores of the prompts at site '{site}'")

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
        members = open_members(found, str(where))
        attributes = _group_attributes(members, f"{where}: not a readable Zarr v3 group")
        parsed = _attributes(attributes, where)
        vectors = {name: _vector(members, name, where) for name in _VECTORS}
        n_tokens, n_ids = (vector.shape[0] for vector in vectors.values())
        if n_tokens != n_ids:
            raise DipsimError(f"{where}: sequence_ids: got {n_ids} for {n_tokens} tokens; must be as many as token_ids")
        kind = FORMAT_VERSIONS[parsed.format_version]
        sites = members.folders("scores")
        scores = {site: _scores(members, site, n_tokens, parsed.model, kind, where) for site in sites}
        token_ids, sequence_ids = (_read_vector(vector, where) for vector in vectors.values())
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
        array, first_layer = self._scores[site], layer or 0
        layers = (first_layer, array.shape[1] if layer is None else layer + 1)
        try:
            scores = array.read((start, stop), layers, (0, array.shape[2]))
        except DipsimError:
            raise
        except Exception as error:  # codecs raise anything when bytes are not what they should be
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


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _group_attributes(members: Members, where: str) -> dict[str, Any]:
    text = members.read(METADATA, MOST_METADATA_BYTES)
    if text is None:
        raise DipsimError(f"{where}: has no {METADATA}")
    group = parse_json(bytes(text), f"{where}: {METADATA}")
    if not isinstance(group, dict) or group.get("zarr_format") != 3 or group.get("node_type") != "group":
        raise DipsimError(f"{where}: {METADATA}: must say zarr_format 3 and node_type 'group'")
    attributes = group.get("attributes", {})
    if not isinstance(attributes, dict):
        raise DipsimError(f"{where}: {METADATA}: attributes: got {type(attributes).__name__}; must be a table")
    return attributes


def _attributes(attributes: dict[str, Any], where: Path | str) -> TraceAttributes:
    own = attributes.get(ATTRIBUTE)
    if not isinstance(own, dict):
        raise DipsimError(f"{where}: no attribute '{ATTRIBUTE}'; not a trace, or one that was never completed")
    version = own.get("format_version")
    if type(version) is not int or version not in FORMAT_VERSIONS:
        known = " and ".join(map(str, FORMAT_VERSIONS))
        raise DipsimError(f"{where}: format_version: got {version!r:.60}; this dipsim reads {known}")
    return TraceAttributes.parse(own, f"{where}: attribute '{ATTRIBUTE}'")


def _vector(members: Members, name: str, where: Path | str) -> StoredArray:
    array = StoredArray.of(members, name, str(where))
    if array is None:
        raise DipsimError(f"{where}: array '{name}' is missing")
    if array.data_type != "int32" or len(array.shape) != 1 or array.shape[0] > MOST_TOKENS:
        raise DipsimError(
            f"{where}: {name}: got {array.data_type} {list(array.shape)}; must be int32 [token], at most "
            f"{MOST_TOKENS:,} of them"
        )
    if not isinstance(array.fill_value, int) or not -(2**31) <= array.fill_value < 2**31:
        raise DipsimError(f"{where}: {name}: fill_value: got {str(array.fill_value)[:60]}; must be an int32")
    return array


def _read_vector(array: StoredArray, where: Path | str) -> NDArray[np.int32]:
    try:
        # what no chunk was written for is what their writer meant
        ids: NDArray[np.int32] = array.read((0, array.shape[0]), missing=array.fill_value)
    except DipsimError:
        raise
    except Exception as error:  # codecs raise anything when bytes are not what they should be
        raise DipsimError(f"{where}: {array.name} is damaged: {_one_line(error)}") from None
    return ids


def _sequences(ids: NDArray[np.int32], prompt_lengths: list[int], where: Path | str) -> tuple[Sequence, ...]:
    inner = np.flatnonzero(np.diff(ids)) + 1
    n_sequences = inner.size + 1
    if np.unique(ids).size != n_sequences:
        raise DipsimError(f"{where}: sequence_ids: a sequence comes back after another; its tokens must be adjacent")
    if len(prompt_lengths) != n_sequences:
        n_prompts = len(prompt_lengths)
        raise DipsimError(f"{where}: prompt_lengths: got {n_prompts} for {n_sequences} sequences; one for each")
    edges = [0, *inner.tolist(), ids.size]
    pairs = zip(itertools.pairwise(edges), prompt_lengths, strict=True)
    return tuple(Sequence(start, stop, prompt) for (start, stop), prompt in pairs)


def _scores(
    members: Members, site: str, n_tokens: int, model: ModelSpec, kind: Scores, where: Path | str
) -> StoredArray | CompactScores:
    shape = (n_tokens, model.n_layers, site_columns(model, site))
    stored, data_type, axes = shape, "float16", "token, layer, column"
    if kind == "compact":
        stored, data_type, axes = (padded(n_tokens), shape[1], row_bytes(shape[2])), "uint8", "token, layer, byte"
    array = StoredArray.of(members, f"scores/{site}", str(where))
    if array is None:
        raise DipsimError(f"{where}: scores/{site}: has no {METADATA}; not an array")
    if array.data_type != data_type or array.shape != stored:
        raise DipsimError(
            f"{where}: scores/{site}: got {array.data_type} {list(array.shape)}; "
            f"must be {data_type} [{axes}] = {list(stored)}"
        )
    # A chunk that is not there would be read as zeros, which would pass for scores.
    array.check_complete()
    return array if kind == "exact" else CompactScores(shape, array)

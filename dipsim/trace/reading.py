"""Opens a trace without loading it, refuses what is damaged, and hands out blocks of scores."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dipsim import kernels, shipped
from dipsim.errors import DipsimError, meant, suggestion
from dipsim.kernels import Uint16Array
from dipsim.model import ModelSpec
from dipsim.notebook import as_table
from dipsim.trace.arrays import StoredArray
from dipsim.trace.certificate import DRIFT_ATTRIBUTE, Certificate, add_certificate, certificates
from dipsim.trace.compact import CompactScores
from dipsim.trace.contents import (
    group_attributes,
    one_line,
    parsed_attributes,
    read_vector,
    stored_scores,
    stored_vector,
)
from dipsim.trace.format import CHUNK_TOKENS, FORMAT_VERSIONS, MOST_TOKENS
from dipsim.trace.held import HeldScores
from dipsim.trace.members import open_members
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
        chosen_per_token: of how many columns of a token the scores are known, those that were used; None of all.
    """

    path: Path | str
    model: ModelSpec
    source: Any
    masking: Any
    sites: tuple[str, ...]
    sequences: tuple[Sequence, ...]
    token_ids: NDArray[np.int32]
    _scores: Mapping[str, StoredArray | CompactScores | HeldScores]
    _drift: Any = None
    chosen_per_token: int | None = None
    _prompt: Mapping[str, StoredArray | CompactScores] = field(default_factory=dict)

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
        return bool(self._prompt)

    def __repr__(self) -> str:
        return (
            f"Trace('{self.path}', {self.model.name}, {self.n_tokens} tokens in {len(self.sequences)} sequences, "
            f"sites {', '.join(self.sites)})"
        )

    def _repr_html_(self) -> str:
        prompts = f", prompts of {', '.join(str(own.prompt_length) for own in self.sequences[:4])} positions"
        rows = {
            "model": self.model.name,
            "tokens": f"{self.n_tokens:,} in {len(self.sequences)} sequences{prompts}",
            "sites": ", ".join(self.sites),
            "source": str(self.source.get("kind", "not told")),
        }
        return as_table(f"Trace {self.path}", rows)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Opens a directory or `.zarr.zip`, a shipped trace by its name, or a `.zarr.zip` at a URL that fsspec knows.

        Scores are read when asked for; what lies at a URL is copied to this machine first, see `local_copy`.

        Raises:
            DipsimError: missing, half-written, damaged, of an unknown version, or not of the promised shape.
        """
        where, found = path if "://" in str(path) else Path(path), _find(path)
        members = open_members(found, str(where))
        attributes = group_attributes(members, f"{where}: not a readable Zarr v3 group")
        parsed = parsed_attributes(attributes, where)
        vectors = {name: stored_vector(members, name, where) for name in _VECTORS}
        n_tokens, n_ids = (vector.shape[0] for vector in vectors.values())
        if n_tokens != n_ids:
            raise DipsimError(f"{where}: sequence_ids: got {n_ids} for {n_tokens} tokens; must be as many as token_ids")
        kind = FORMAT_VERSIONS[parsed.format_version]
        sites, prompted = members.folders("scores"), members.folders("prompt")
        scores = {site: stored_scores(members, f"scores/{site}", n_tokens, parsed.model, kind, where) for site in sites}
        token_ids, sequence_ids = (read_vector(vector, where) for vector in vectors.values())
        sequences = _sequences(sequence_ids, parsed.prompt_lengths, where)
        n_prompt = sum(parsed.prompt_lengths)
        if n_prompt > MOST_TOKENS:
            raise DipsimError(f"{where}: prompt_lengths: got {n_prompt:,} tokens in all; at most {MOST_TOKENS:,}")
        return cls(
            where,
            parsed.model,
            parsed.source,
            parsed.masking,
            tuple(scores),
            sequences,
            token_ids,
            scores,
            attributes.get(DRIFT_ATTRIBUTE),
            parsed.chosen_per_token,
            {
                site: stored_scores(members, f"prompt/{site}", n_prompt, parsed.model, "exact", where)
                for site in prompted
            },
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

    @classmethod
    def held(
        cls,
        model: ModelSpec,
        scores: Mapping[str, HeldScores],
        token_ids: NDArray[np.integer[Any]],
        n_prompt: int,
        source: Mapping[str, Any],
        masking: Mapping[str, Any],
    ) -> Self:
        """A trace whose scores are in memory.

        Args:
            model: the model.
            scores: of each site.
            token_ids, n_prompt: as for `planned`.
            source, masking: how they came to be.
        """
        planned = cls.planned(model, tuple(scores), token_ids, n_prompt)
        return replace(planned, path=Path("(in memory)"), source=source, masking=masking, _scores=scores)

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
        bits = self._clean(f"scores/{site}", self._scores[site], start, stop, layer)
        return bits if layer is None else bits[:, 0]

    def prompt_scores(self, site: str, sequence: int, layer: int) -> Uint16Array:
        """Scores of a sequence's prompt in one layer as float16 bit patterns, uint16 [prompt token, column]; all of a
        token's are 0 where the layer did not run it (the last layer of an engine that wants the last token alone).

        Raises:
            DipsimError: they are not there or damaged, or a score is NaN, infinite or negative.
        """
        if site not in self._prompt:
            raise DipsimError(f"{self.path}: no scores of the prompts at site '{site}'")
        start = sum(own.prompt_length for own in self.sequences[:sequence])
        stop = start + self.sequences[sequence].prompt_length
        return self._clean(f"prompt/{site}", self._prompt[site], start, stop, layer)[:, 0]

    def _clean(
        self, name: str, array: StoredArray | CompactScores | HeldScores, start: int, stop: int, layer: int | None
    ) -> Uint16Array:
        """A block of an array, [token, layer, column]; see `read`."""
        first_layer = layer or 0
        layers = (first_layer, array.shape[1] if layer is None else layer + 1)
        try:
            scores = array.read((start, stop), layers, (0, array.shape[2]))
        except DipsimError:
            raise
        except Exception as error:  # codecs raise anything when bytes are not what they should be
            raise DipsimError(f"{self.path}: {name} is damaged: {one_line(error)}") from None
        bits: Uint16Array = scores.view(np.uint16)
        bad = kernels.clean_scores(bits.reshape(-1))
        if bad >= 0:
            token, found, column = np.unravel_index(bad, bits.shape)
            raise DipsimError(
                f"{self.path}: {name}: token {start + int(token)}, layer {first_layer + int(found)}, column "
                f"{column}: got {scores[token, found, column]}; scores are finite and not negative"
            )
        return bits

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


def _other_thing(name: str) -> str:
    """What else a name may be, with what takes it; or what a trace is."""
    if (model := meant(name, ModelSpec.presets())) is not None:
        return f", a model: 'dipsim estimate {model}' needs no trace, 'dipsim synth {model} -o {model}.zarr' makes one"
    if meant(name, shipped.names("hwprofiles", ".toml")) is not None:
        return f", a device: --profile {name}; a trace is a path, or one that ships"
    return f"; a path, or a shipped trace{suggestion(name, shipped.names('traces', '.zarr.zip'))}"


def _find(path: str | Path) -> Path:
    known = shipped.names("traces", ".zarr.zip")
    if str(path) in known:
        return known[str(path)]
    if "://" in str(path):
        return local_copy(path)
    if not Path(path).exists():
        raise DipsimError(f"trace: no such file, got '{path}'{_other_thing(str(path))}")
    return Path(path)


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

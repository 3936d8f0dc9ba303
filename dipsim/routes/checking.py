"""Is it all there: each token chose as many experts in each layer, none of them twice, and no token is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Int64Array
from dipsim.routes.table import Places

_SMALLEST_WEIGHT = float(np.finfo(np.float16).smallest_subnormal)


@dataclass(frozen=True)
class Routes:
    """What was chosen, without a hole. Tokens of prompts stand first in each sequence.

    Attributes:
        layers: which have experts, ascending.
        per_token: experts that a token uses in each.
        experts: int64 [token, one of `layers`, per_token].
        weights: float16 alike, above 0; 0 where a layer did not run a token of a prompt.
        is_prompt: bool [token].
        lengths: tokens of each sequence, its prompt left out.
        prompt_lengths: tokens before them, whether they are among the tokens or not.
    """

    layers: tuple[int, ...]
    per_token: int
    experts: Int64Array
    weights: NDArray[np.float16]
    is_prompt: BoolArray
    lengths: list[int]
    prompt_lengths: list[int]


def checked(places: Places, layers: Sequence[int], n_experts: int) -> Routes:
    """The routes, if nothing is wrong with them.

    An engine that samples once after a prompt runs the last layer for the last tokens of it alone: only there may
    tokens be missing.

    Args:
        places: all rows.
        layers: those with experts, ascending.
        n_experts: of a layer.

    Raises:
        DipsimError: the first place where something is missing or too much.
    """
    _check_layers(places, layers)
    _check_once(places, n_experts)
    per_token = _same_number(places)
    is_new = np.ones(places.token.size, np.bool_)
    is_new[1:] = (np.diff(places.token) != 0) | (np.diff(places.sequence) != 0)
    starts = np.flatnonzero(is_new)  # the first place of each token
    is_prompt = places.is_prompt[starts]
    _check_order(places, starts)
    index, position = np.cumsum(is_new) - 1, np.searchsorted(layers, places.layer)
    is_there = np.zeros((starts.size, len(layers)), np.bool_)
    is_there[index, position] = True
    _check_holes(places, starts, is_there, layers)
    experts = np.zeros((starts.size, len(layers), per_token), np.int64)
    weights = np.zeros(experts.shape, np.float16)
    experts[index, position] = places.experts.reshape(-1, per_token)
    weights[index, position] = np.maximum(places.weights.reshape(-1, per_token), _SMALLEST_WEIGHT)
    of_sequence = places.sequence[starts]
    n_sequences = int(of_sequence[-1]) + 1
    n_tokens = np.bincount(of_sequence, minlength=n_sequences)
    prompts = np.bincount(of_sequence[is_prompt], minlength=n_sequences)
    before = prompts if is_prompt.any() else places.token[starts[np.searchsorted(of_sequence, range(n_sequences))]]
    return Routes(tuple(layers), per_token, experts, weights, is_prompt, (n_tokens - prompts).tolist(), before.tolist())


def _refuse(places: Places, place: int, what: str) -> NoReturn:
    first = places.first[place]
    raise DipsimError(
        f"{places.where} {places.numbers[first]}: sequence {places.sequence[place]}, token {places.token[place]}, "
        f"layer {places.layer[place]}: {what}"
    )


def _check_layers(places: Places, layers: Sequence[int]) -> None:
    stray = np.flatnonzero(~np.isin(places.layer, layers))
    if stray.size:
        _refuse(places, int(stray[0]), f"has experts; the model has them in {len(layers)} layers, not in this one")


def _check_once(places: Places, n_experts: int) -> None:
    """No expert twice in a place."""
    n_rows = np.diff(np.append(places.first, places.numbers.size))
    keys = np.repeat(np.arange(places.first.size), n_rows) * n_experts + places.experts
    order = np.argsort(keys, kind="stable")
    again = order[1:][np.diff(keys[order]) == 0]
    if again.size:
        row = int(again[np.argmin(places.numbers[again])])
        place = int(keys[row]) // n_experts
        raise DipsimError(
            f"{places.where} {places.numbers[row]}: sequence {places.sequence[place]}, token {places.token[place]}, "
            f"layer {places.layer[place]}: expert {places.experts[row]} twice; a token uses each once"
        )


def _same_number(places: Places) -> int:
    """Experts of a place, as many in each."""
    n_rows = np.diff(np.append(places.first, places.numbers.size))
    usual = int(np.bincount(n_rows).argmax())
    others = np.flatnonzero(n_rows != usual)
    if others.size:
        place = int(others[0])
        _refuse(places, place, f"got {n_rows[place]} experts; {usual} in every other place")
    return usual


def _check_order(places: Places, starts: Int64Array) -> None:
    """Sequences from 0 on, tokens one after another, the prompt first and decoded tokens after it."""
    sequence, token, is_prompt = (values[starts] for values in (places.sequence, places.token, places.is_prompt))
    same = np.diff(sequence) == 0
    if sequence[0] != 0 or (np.diff(sequence) > 1).any():
        place = 0 if sequence[0] else int(starts[1:][np.diff(sequence) > 1][0])
        _refuse(places, place, "sequences are numbered from 0 without a gap")
    if (gaps := np.flatnonzero(same & (np.diff(token) > 1))).size:
        _refuse(places, int(starts[gaps[0] + 1]), f"token {token[gaps[0]] + 1} of the sequence is missing before it")
    within = (np.diff(places.token) == 0) & (np.diff(places.sequence) == 0)
    if (mixed := np.flatnonzero(within & (places.is_prompt[:-1] != places.is_prompt[1:]))).size:
        _refuse(places, int(mixed[0]) + 1, "is of the prompt and decoded")
    if (late := np.flatnonzero(same & ~is_prompt[:-1] & is_prompt[1:])).size:
        _refuse(places, int(starts[late[0] + 1]), "is of the prompt, after tokens that were decoded")
    ends = np.append(~same, True)
    if (bare := np.flatnonzero(ends & is_prompt)).size:
        _refuse(places, int(starts[bare[0]]), "is the sequence's last token and of its prompt; none was decoded")


def _check_holes(places: Places, starts: Int64Array, is_there: BoolArray, layers: Sequence[int]) -> None:
    """Every layer at every token, but for the last layer's first tokens of a prompt."""
    sequence = places.sequence[starts]
    # of the last layer: whether the sequence has it at this token or an earlier one
    has_begun = np.maximum.accumulate(np.where(is_there[:, -1], sequence, -1)) == sequence
    may_lack = np.zeros_like(is_there)
    may_lack[:, -1] = places.is_prompt[starts] & ~has_begun
    holes = np.argwhere(~is_there & ~may_lack)
    if holes.size:
        token, position = (int(i) for i in holes[0])
        n_there = int(is_there[token].sum())
        _refuse(
            places,
            int(starts[token]),
            f"is the first of {n_there} layers of this token; layer {layers[position]} is missing",
        )

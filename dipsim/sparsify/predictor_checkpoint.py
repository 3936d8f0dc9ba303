"""Where does the training of predictors stand: a file to go on from, whole at any moment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from dipsim.documents import parse_json
from dipsim.errors import DipsimError
from dipsim.files import remove_left, replacing
from dipsim.schema import CountOrZero, Record
from dipsim.sparsify.settings import check_same
from dipsim.sparsify.tensors import read_header, read_tensors

_KEY = "dipsim"  # of the file's metadata
_MOMENTS = ("exp_avg", "exp_avg_sq")  # what Adam keeps of each weight
_MOST_SHARE = 0.05  # of the time goes into checkpoints


class _State(Record):
    n_windows: CountOrZero
    n_steps: CountOrZero
    settings: dict[str, Any]


class PredictorCheckpoint:
    """A training's file.

    Args:
        path: the file.
        settings: everything that the networks follow from, as plain data.
        anew: begin anew where the file is of other settings, instead of refusing it.
    """

    def __init__(self, path: Path, settings: dict[str, Any], anew: bool = False) -> None:
        self._path, self._settings, self._anew = path, settings, anew
        self._next_s = 0.0
        remove_left(path.parent, path.name)

    def load(self, networks: Sequence[nn.Module], learners: Sequence[torch.optim.Adam]) -> int:
        """Fills networks and learners with what the file has; the windows that they have learnt from, 0 without a file.

        Raises:
            DipsimError: it is damaged, or of another training.
        """
        if not self._path.exists():
            return 0
        where = f"resume: '{self._path}'"
        told, shapes = read_header(self._path, where)
        state = _State.parse(parse_json(told.get(_KEY, "{}"), where), where)
        if self._anew and state.settings != self._settings:
            return 0
        check_same(self._settings, state.settings, f"; or --force, which begins anew, or remove '{self._path}'")
        own = dict(nn.ModuleList(networks).named_parameters())
        names = {f"{prefix}{name}": tuple(own[name].shape) for prefix in ("", *_prefixes()) for name in own}
        if names != shapes:
            raise DipsimError(f"{where}: its tensors are not those of this training; remove it to begin anew")
        tensors = read_tensors(self._path, where)
        moments = {own[name]: {m: tensors[f"{m}.{name}"].to(own[name]) for m in _MOMENTS} for name in own}
        with torch.no_grad():
            for name, weight in own.items():
                weight.copy_(tensors[name])
        for learner in learners:
            for weight in learner.param_groups[0]["params"]:
                learner.state[weight] = {"step": torch.tensor(float(state.n_steps)), **moments[weight]}
        return state.n_windows

    def keep(
        self,
        networks: Sequence[nn.Module],
        learners: Sequence[torch.optim.Adam],
        n_windows: int,
        *,
        is_last: bool = False,
    ) -> None:
        """Writes the file; unless it is the last, only now and then, so that little of the time goes into it."""
        begun_s = time.monotonic()
        if begun_s < self._next_s and not is_last:
            return
        own = {name: weight.detach() for name, weight in nn.ModuleList(networks).named_parameters()}
        states = [learner.state[weight] for learner in learners for weight in learner.param_groups[0]["params"]]
        tensors: dict[str, Tensor] = dict(own)
        for moment in _MOMENTS:
            tensors |= {f"{moment}.{name}": kept[moment] for name, kept in zip(own, states, strict=True)}
        state = _State(n_windows=n_windows, n_steps=int(states[0]["step"]), settings=self._settings)
        with replacing(self._path) as temporary:
            whole = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
            temporary.write_bytes(save(whole, {_KEY: state.model_dump_json()}))
        now_s = time.monotonic()
        self._next_s = now_s + (now_s - begun_s) / _MOST_SHARE


def _prefixes() -> list[str]:
    return [f"{moment}." for moment in _MOMENTS]

"""How well does a model predict a text under a mask: the loss of every token, in one forward pass per window."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.nn import functional

from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray
from dipsim.methods import Method, groups_of
from dipsim.model import ModelSpec
from dipsim.model.groups import Site
from dipsim.sparsify.capture import OnProgress, Out, recorded
from dipsim.sparsify.hooks import Choose, Plan, Predictors
from dipsim.sparsify.loading import LoadedModel
from dipsim.sparsify.pruned import pruned


def losses(
    loaded: LoadedModel,
    ids: NDArray[np.int64],
    out: Out,
    *,
    masking: Method,
    choose: Choose,
    about: dict[str, Any],
    n_prompt: int = 0,
    n_batch: int = 1,
    predictors: Predictors = (),
    text_source: dict[str, Any] | None = None,
    force: bool = False,
    compact: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> NDArray[np.float64]:
    """Runs every window once under the masks, records the scores they were chosen from, and measures the loss.

    Args:
        loaded: the model; its mode and weights are afterwards as before.
        ids: int64 [window, token]; each window is a sequence of the trace.
        out: where the scores go, those of `recorded_sites`.
        masking: the method.
        choose: its masks.
        about: what the trace says of both.
        n_prompt: first tokens of each window, run dense.
        n_batch: windows in one forward pass.
        predictors: for the site `predictor`, one for each layer.
        text_source: what to say of the text in the trace.
        force: replace an existing trace.
        compact: keep scores in nine bits.
        on_progress: called with the windows done and the windows to do.

    Returns:
        Cross-entropy in nats of each token, given those before it in its window: [window, token]; NaN for the first.

    Raises:
        DipsimError: no gated MLPs, or an output that cannot be written.
    """
    plan = Plan(masking, choose, recorded_sites(masking, loaded.spec), n_prompt, predictors)
    found = np.full(ids.shape, np.nan)
    first = 0
    recording = recorded(loaded, ids, out, plan, n_batch, text_source, about, force, on_progress, loaded.model, compact)
    # Closed at once where the body raises: a traceback that is kept must not keep the model as it is meanwhile.
    with pruned(loaded, masking), closing(recording) as batches:
        for batch, output in batches:
            # Half precision is too coarse to sum in; double stays what it is.
            logits = output.logits if output.logits.itemsize > 2 else output.logits.float()
            labels = batch[:, 1:]
            own = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels.flatten(), reduction="none")
            found[first : first + len(batch), 1:] = own.view(labels.shape).double().cpu().numpy()
            first += len(batch)
    return found


def recorded_sites(masking: Method, spec: ModelSpec) -> list[Site]:
    """What masks are chosen from."""
    return [group.site for group in groups_of(masking, spec) if group.site is not None]


def scored_tokens(ids: NDArray[np.int64], n_prompt: int, stride: int | None, *, bos: bool = False) -> BoolArray:
    """Which tokens count, bool [window, token]: those predicted by a masked position; with a stride, of every window
    but the first only the last `stride`.

    Args:
        ids: int64 [window, token].
        n_prompt: first tokens of each window, run dense.
        stride: tokens between the starts of windows; None where they follow one another.
        bos: each begins with a token that is not the text's, as `windows` cuts them.

    Raises:
        DipsimError: no token would count, or windows that do not lie as the stride says.
    """
    counted: BoolArray = np.zeros(ids.shape, np.bool_)
    n_window = ids.shape[1]
    counted[:, n_prompt + 1 :] = True
    if stride is not None:
        _check_stride(ids[:, int(bos) :], stride)
        counted[1:, : n_window - stride] = False
    if not counted.any():
        raise DipsimError(f"window: got {n_window} tokens, {n_prompt} of them a prompt; none is left to be predicted")
    return counted


def _check_stride(ids: NDArray[np.int64], stride: int) -> None:
    n_window = ids.shape[1]
    if not 1 <= stride <= n_window:
        raise DipsimError(f"stride: got {stride}; must be at least 1 and at most the window's {n_window} tokens")
    if not np.array_equal(ids[1:, : n_window - stride], ids[:-1, stride:]):
        raise DipsimError(f"stride: got {stride}; windows do not overlap so, cut them with the same stride")

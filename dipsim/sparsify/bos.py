"""Which token marks the beginning of a sequence (BOS), and does a text's every window begin with it."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import transformers
from numpy.typing import NDArray

from dipsim.errors import DipsimError, choose

Bos = Literal["auto", "yes", "no"]


def bos_in_front(tokenizer: transformers.PreTrainedTokenizerBase, bos: Bos) -> int | None:
    """The id of the token that is put in front of every window, None for none.

    Args:
        tokenizer: the model's.
        bos: `auto` for what the tokenizer does by itself, `yes` or `no`.

    Raises:
        DipsimError: an unknown choice, `yes` where the tokenizer has no such token, or a tokenizer that does not tell.
    """
    choose("bos", bos, get_args(Bos))
    if bos == "no":
        return None
    own = _bos_id(tokenizer)
    if bos == "yes":
        if own is None:
            raise DipsimError("bos: got 'yes'; the model's tokenizer has no BOS token, 'auto' and 'no' do without")
        return own
    return own if own is not None and _puts_in_front(tokenizer, own) else None


def begin_with_bos(tokenizer: transformers.PreTrainedTokenizerBase, ids: NDArray[np.int64]) -> bool:
    """Whether all windows, int64 [window, token], begin with the tokenizer's BOS token."""
    own = _bos_id(tokenizer)
    return own is not None and bool((ids[:, 0] == own).all())


def _bos_id(tokenizer: transformers.PreTrainedTokenizerBase) -> int | None:
    """None also where a token is named that is not in the vocabulary, for which tokenizers give that of the unknown."""
    own: int | None = getattr(tokenizer, "bos_token_id", None)
    return own if own is not None and tokenizer.convert_ids_to_tokens(own) == tokenizer.bos_token else None


def _puts_in_front(tokenizer: transformers.PreTrainedTokenizerBase, bos: int) -> bool:
    try:
        # In front of no text, where no word is taken for it, and of one, where a token at the end is not.
        return all(tokenizer.encode(text)[:1] == [bos] for text in ("", "x"))
    except Exception as error:  # whatever a stranger's tokenizer does
        reason = " ".join(str(error).split())[:200]
        raise DipsimError(
            f"bos: the model's tokenizer does not tell whether it puts one in front: {reason}; give 'yes' or 'no'"
        ) from None

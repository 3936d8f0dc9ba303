"""What does the group of a trace hold: its attribute and its arrays, checked, none of their chunks read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dipsim.documents import parse_json
from dipsim.errors import DipsimError
from dipsim.model import ModelSpec
from dipsim.model.groups import site_width
from dipsim.trace.arrays import METADATA, MOST_METADATA_BYTES, StoredArray
from dipsim.trace.compact import CompactScores, padded, row_bytes
from dipsim.trace.format import ATTRIBUTE, FORMAT_VERSIONS, MOST_TOKENS, Scores, TraceAttributes
from dipsim.trace.members import Members


def group_attributes(members: Members, where: str) -> dict[str, Any]:
    """Attributes of the group.

    Raises:
        DipsimError: it is no readable Zarr v3 group.
    """
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


def parsed_attributes(attributes: dict[str, Any], where: Path | str) -> TraceAttributes:
    """The attribute `dipsim` among them.

    Raises:
        DipsimError: it is not there, of an unknown version, or says what it must not.
    """
    own = attributes.get(ATTRIBUTE)
    if not isinstance(own, dict):
        raise DipsimError(f"{where}: no attribute '{ATTRIBUTE}'; not a trace, or one that was never completed")
    version = own.get("format_version")
    if type(version) is not int or version not in FORMAT_VERSIONS:
        known = " and ".join(map(str, FORMAT_VERSIONS))
        raise DipsimError(f"{where}: format_version: got {version!r:.60}; this dipsim reads {known}")
    return TraceAttributes.parse(own, f"{where}: attribute '{ATTRIBUTE}'")


def stored_vector(members: Members, name: str, where: Path | str) -> StoredArray:
    """An array of ids.

    Raises:
        DipsimError: it is missing, of another kind or too long.
    """
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


def read_vector(array: StoredArray, where: Path | str) -> NDArray[np.int32]:
    """Its values.

    Raises:
        DipsimError: a chunk is damaged.
    """
    try:
        # what no chunk was written for is what their writer meant
        ids: NDArray[np.int32] = array.read((0, array.shape[0]), missing=array.fill_value)
    except DipsimError:
        raise
    except Exception as error:  # codecs raise anything when bytes are not what they should be
        raise DipsimError(f"{where}: {array.name} is damaged: {one_line(error)}") from None
    return ids


def stored_scores(
    members: Members, name: str, n_tokens: int, model: ModelSpec, kind: Scores, where: Path | str
) -> StoredArray | CompactScores:
    """An array of scores by its name, `scores/SITE` or `prompt/SITE`.

    Raises:
        DipsimError: it is no array, of another kind or shape, or lacks chunks.
    """
    shape = (n_tokens, model.n_layers, site_width(model, name.partition("/")[2]))
    stored, data_type, axes = shape, "float16", "token, layer, column"
    if kind == "compact":
        stored, data_type, axes = (padded(n_tokens), shape[1], row_bytes(shape[2])), "uint8", "token, layer, byte"
    array = StoredArray.of(members, name, str(where))
    if array is None:
        raise DipsimError(f"{where}: {name}: has no {METADATA}; not an array")
    if array.data_type != data_type or array.shape != stored:
        raise DipsimError(
            f"{where}: {name}: got {array.data_type} {list(array.shape)}; must be {data_type} [{axes}] = {list(stored)}"
        )
    # A chunk that is not there would be read as zeros, which would pass for scores.
    array.check_complete()
    return array if kind == "exact" else CompactScores(shape, array)


def one_line(error: BaseException) -> str:
    """What an error says, in one line of at most 200 letters."""
    return " ".join(str(error).split())[:200] or type(error).__name__

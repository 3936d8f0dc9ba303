"""Where in a file is what fio says: one JSON document, among notes and tables for people, as any shell wrote it."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

from dipsim.documents import MOST_BYTES, check_bounds, read_bytes
from dipsim.errors import DipsimError

_OBJECT = re.compile(r'\{\s*"')
_VERSION = re.compile(r'"fio version"\s*:')
# Of places where an object may begin. Notes of fio have braces, but hardly ever before a name in quotes.
_MOST_TRIES = 16


def read_document(path: Path) -> dict[str, Any]:
    """The document of fio in a file.

    Raises:
        DipsimError: the file cannot be read or is too long; else as `find_document`.
    """
    data = read_bytes(path, str(path))
    # A shell may have written UTF-16 (PowerShell), and notes are in whatever the system speaks.
    return find_document(data.decode(json.detect_encoding(data), errors="replace"), str(path))


def find_document(text: str, where: str) -> dict[str, Any]:
    """The one document of fio in a text; what is before, after and around it is passed over.

    Raises:
        DipsimError: there is none, it is cut off or out of bounds, or there are two.
    """
    n_results = sum(1 for _ in islice(_VERSION.finditer(text), 2))
    if n_results > 1:
        raise DipsimError(
            f"{where}: holds several results of fio, of several runs or of --status-interval; keep one, or split it"
        )
    decoder, reason, n_letters = json.JSONDecoder(), "", 0
    for place in islice(_OBJECT.finditer(text), _MOST_TRIES):
        if n_letters > MOST_BYTES // 2:
            break
        try:
            found, end = decoder.raw_decode(text, place.start())
            n_letters += end - place.start()
        except (ValueError, RecursionError) as error:
            reason = reason or _reason(error)
            n_letters += getattr(error, "pos", len(text)) - place.start()
            continue
        if isinstance(found, dict) and any(isinstance(found.get(key), list) for key in ("jobs", "client_stats")):
            check_bounds(found, where)
            return found
    if n_results and reason:
        raise DipsimError(f"{where}: the JSON of fio is damaged or cut off: {reason}; copy it again, or run fio again")
    raise DipsimError(f"{where}: not the JSON of fio; run it with --output-format=json")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return " ".join(str(error).split())
    return "nested too deep" if isinstance(error, RecursionError) else "a number of too many digits"

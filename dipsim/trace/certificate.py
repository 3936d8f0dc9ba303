"""How far is replaying a trace from the closed loop: what `dipsim drift` found, kept beside the scores."""

from __future__ import annotations

import copy
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

from dipsim.documents import parse_json
from dipsim.errors import DipsimError
from dipsim.files import replacing, write_text
from dipsim.schema import Count, Ends, Record, ShortText
from dipsim.trace.arrays import METADATA, MOST_METADATA_BYTES
from dipsim.trace.members import Folder, open_members

DRIFT_ATTRIBUTE = "dipsim_drift"
# What a run's configuration holds beside the options that a certificate is about.
_NOT_OPTIONS = ("trace", "tokens", "engine")  # engines give the same numbers


class Gap(Record):
    """One quantity of both runs.

    Attributes:
        replay: of the trace's scores.
        closed_loop: of the model, its activations changed by its own masks.
        interval: lower and upper end of the gap's 95 % confidence interval; None of a single sequence.
    """

    replay: float
    closed_loop: float
    interval: Ends | None

    @property
    def gap(self) -> float:
        """What the replay has more."""
        return self.replay - self.closed_loop

    @property
    def relative(self) -> float | None:
        """The gap as a share of the closed loop's; None where that is 0."""
        return self.gap / self.closed_loop if self.closed_loop else None


class Certificate(Record):
    """The gaps of one run.

    Attributes:
        options: the run's configuration, without trace and tokens.
        n_sequences, n_tokens: the sample, from the trace's first sequence on.
        gaps: by quantity.
    """

    options: dict[str, Any]
    n_sequences: Count
    n_tokens: Count
    gaps: dict[str, Gap]
    dipsim_version: ShortText

    def differences(self, config: dict[str, Any]) -> list[str]:
        """Options in which a run, by its configuration, differs from the one that was certified."""
        other = options_of(config)
        # A certificate may lack what nobody could ask for when it was made.
        return [key for key in self.options | other if (self.options.get(key) or None) != (other.get(key) or None)]


def options_of(config: dict[str, Any]) -> dict[str, Any]:
    """What of a run's configuration a certificate is about, as it comes back from JSON."""
    options: dict[str, Any] = json.loads(json.dumps(config))
    return {key: value for key, value in options.items() if key not in _NOT_OPTIONS}


def certificates(raw: Any, where: str) -> tuple[Certificate, ...]:
    """From the attribute of a trace's group; none where it is None.

    Raises:
        DipsimError: it is nothing that `add_certificate` writes.
    """
    if raw is None:
        return ()
    if not isinstance(raw, list):
        raise DipsimError(f"{where}: attribute '{DRIFT_ATTRIBUTE}': got {type(raw).__name__}; must be a list")
    return tuple(Certificate.parse(one, f"{where}: attribute '{DRIFT_ATTRIBUTE}'") for one in raw)


def add_certificate(path: Path, certificate: Certificate) -> None:
    """Stores a certificate in a trace, a directory or one file, instead of an earlier one of the same options.

    The scores are not touched; a single file is written anew to a temporary name, then renamed.

    Raises:
        DipsimError: it is no trace any more.
    """
    members = open_members(path, str(path))
    group = members.read(METADATA, MOST_METADATA_BYTES)
    if group is None:
        raise DipsimError(f"{path}: has no {METADATA}")
    metadata = _with_certificate(bytes(group), certificate, str(path))
    if isinstance(members, Folder):
        write_text(path / METADATA, metadata)
        return
    with members, replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as new:
        for entry in members.entries:
            if entry.filename == METADATA:
                new.writestr(entry, metadata)
                continue
            # writing changes an entry
            with members.open(entry) as source, new.open(copy.copy(entry), "w", force_zip64=True) as sink:
                shutil.copyfileobj(source, sink)


def _with_certificate(metadata: bytes, certificate: Certificate, where: str) -> str:
    group = parse_json(metadata, f"{where}: {METADATA}")
    if not isinstance(group, dict) or not isinstance(group.get("attributes"), dict):
        raise DipsimError(f"{where}: {METADATA}: attributes: missing, or no table")
    earlier = certificates(group["attributes"].get(DRIFT_ATTRIBUTE), where)
    kept = [one.model_dump() for one in earlier if one.options != certificate.options]
    group["attributes"][DRIFT_ATTRIBUTE] = [*kept, certificate.model_dump()]
    return json.dumps(group, indent=2)

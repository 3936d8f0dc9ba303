"""What lies in an adapter's folder: PEFT's own files, what dipsim says of them, and a checkpoint while it learns.

Whoever sent the folder is not trusted: PEFT gets what it would have got when the adapter was trained, and nothing else
of a file; a checkpoint holds numbers and JSON, and no pickle.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import peft
from safetensors.torch import save
from torch import Tensor

from dipsim.documents import parse_json, read_json
from dipsim.errors import DipsimError
from dipsim.files import check_writable, remove_left, replacing, write_text
from dipsim.schema import Count, CountOrZero, PerLayer, PositiveNumber, Record, ShortText
from dipsim.sparsify.tensors import read_header, read_tensors

CONFIG, WEIGHTS, ABOUT = "adapter_config.json", "adapter_model.safetensors", "dipsim.json"
CHECKPOINT = "checkpoint.safetensors"
_STATE = "dipsim"  # of a checkpoint's metadata
_MOST_BYTES = 2**22  # of a file of JSON


class _Config(Record):
    """What PEFT must be told; of what else it writes, see `_check_others`."""

    peft_type: Literal["LORA"]
    r: Count
    lora_alpha: PositiveNumber
    target_modules: PerLayer[ShortText]


class Checkpoint(Record):
    """Where a training stands, beside its tensors.

    Attributes:
        step, best_step, n_without_gain: updates, those of the weights that were kept, looks without a gain since.
        before, best: losses on the held-out windows.
        settings: of the training.
    """

    step: CountOrZero
    best_step: CountOrZero
    n_without_gain: CountOrZero
    before: float
    best: float
    settings: dict[str, Any]


class _About(Record):
    """Which model an adapter is for."""

    model: ShortText
    fingerprint: PerLayer[PerLayer[float]]


def check_folder(folder: Path, resume: bool, force: bool) -> None:
    """Refuses a place for an adapter before any work is done.

    Raises:
        DipsimError: it is taken, or there is nothing to resume.
    """
    if not folder.parent.is_dir():
        raise DipsimError(f"output: got '{folder}'; its folder does not exist")
    if folder.exists() and not folder.is_dir():
        raise DipsimError(f"output: got '{folder}'; it is there already and no folder")
    check_writable(f"output: got '{folder}'", folder)
    remove_left(folder)
    if resume and not (folder / CHECKPOINT).is_file():
        raise DipsimError(f"resume: '{folder}' holds no {CHECKPOINT}; its training has ended, or never began")
    if folder.exists() and any(folder.iterdir()) and not (resume or force):
        raise DipsimError(f"output: '{folder}' exists already; give --force to replace it, or --resume to go on")
    strangers = {path.name for path in folder.glob("*")} - {CONFIG, WEIGHTS, ABOUT, CHECKPOINT}
    if strangers:
        raise DipsimError(
            f"output: '{folder}' holds '{min(strangers)}', which is no part of an adapter; another folder"
        )


def save_adapter(folder: Path, config: peft.LoraConfig, weights: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Writes an adapter as PEFT does, in 16 bits, with what dipsim knows of it beside."""
    told: dict[str, Any] = config.to_dict()  # type: ignore[no-untyped-call]
    described = told | {"inference_mode": True, "target_modules": sorted(config.target_modules or [])}
    write_text(folder / CONFIG, json.dumps(described, indent=2, sort_keys=True, default=str) + "\n")
    with replacing(folder / WEIGHTS) as temporary:
        halves = {name: weight.half() for name, weight in weights.items()}
        temporary.write_bytes(save(halves, metadata={"format": "pt"}))
    write_text(folder / ABOUT, json.dumps(about, indent=2) + "\n")


def lora_config(layers: Sequence[str], rank: int, alpha: float, model_name: str) -> peft.LoraConfig:
    """PEFT's description of an adapter for these layers, without dropout and without biases."""
    return peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # it only divides it by the rank
        target_modules=list(layers),
        task_type="CAUSAL_LM",
        base_model_name_or_path=model_name,
    )


def read_adapter(folder: Path) -> tuple[peft.LoraConfig, dict[str, Tensor], str, list[list[float]]]:
    """PEFT's configuration, the weights, and name and fingerprint of the model.

    Raises:
        DipsimError: a file is missing, damaged, or says what 'dipsim adapt' does not.
    """
    if not (folder / ABOUT).is_file():
        raise DipsimError(f"adapter: '{folder}' holds no {ABOUT}; a folder that 'dipsim adapt' made")
    about = _About.parse(_known(_read(folder / ABOUT), _About), f"adapter '{folder / ABOUT}'")
    where, said = f"adapter '{folder / CONFIG}'", _read(folder / CONFIG)
    told = _Config.parse(_known(said, _Config), where)
    config = lora_config(told.target_modules, told.r, told.lora_alpha, about.model)
    _check_others(said, config, where)
    where = f"adapter '{folder / WEIGHTS}'"
    read_header(folder / WEIGHTS, where)
    return config, read_tensors(folder / WEIGHTS, where), about.model, about.fingerprint


def _read(path: Path) -> Any:
    return read_json(path, f"adapter '{path}'", _MOST_BYTES)


def _known(data: Any, record: type[Record]) -> Any:
    """Of an object, the keys that a record has."""
    return {key: data[key] for key in record.model_fields if key in data} if isinstance(data, dict) else data


def _check_others(told: dict[str, Any], config: peft.LoraConfig, where: str) -> None:
    """Refuses an adapter of another make, which would be computed as if it were one of ours. What PEFT's version at
    hand does not know cannot act, and what names things is not given to it."""
    own: dict[str, Any] = config.to_dict()  # type: ignore[no-untyped-call]
    names = {*_Config.model_fields, "base_model_name_or_path", "inference_mode", "peft_version"}
    for key, value in json.loads(json.dumps(own, default=str)).items():
        if key not in names and key in told and told[key] != value:
            raise DipsimError(f"{where}: {key}: got {repr(told[key])[:60]}; 'dipsim adapt' writes {value!r}")


def save_checkpoint(folder: Path, tensors: dict[str, Tensor], state: Checkpoint) -> None:
    """Writes what training needs to go on, whole or not at all.

    Args:
        folder: of the adapter.
        tensors: by name.
        state: what else there is.
    """
    with replacing(folder / CHECKPOINT) as temporary:
        temporary.write_bytes(save(tensors, {_STATE: state.model_dump_json()}))


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], Checkpoint]:
    """What `save_checkpoint` wrote.

    Raises:
        DipsimError: it is damaged.
    """
    where = f"resume: '{folder / CHECKPOINT}'"
    told, _ = read_header(folder / CHECKPOINT, where)
    state = Checkpoint.parse(parse_json(told.get(_STATE, "{}"), where), where)
    return read_tensors(folder / CHECKPOINT, where), state


def remove_checkpoint(folder: Path) -> None:
    """Training has ended."""
    (folder / CHECKPOINT).unlink(missing_ok=True)

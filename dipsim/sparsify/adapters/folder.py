"""What lies in an adapter's folder: PEFT's own files, what dipsim says of them, and a checkpoint while it learns."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from dipsim.errors import DipsimError
from dipsim.files import check_writable, remove_left, replacing, write_text

CONFIG, WEIGHTS, ABOUT, CHECKPOINT = "adapter_config.json", "adapter_model.safetensors", "dipsim.json", "checkpoint.pt"


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


def read_adapter(folder: Path) -> tuple[peft.LoraConfig, dict[str, Tensor], dict[str, Any]]:
    """PEFT's configuration, the weights, and what dipsim says of them.

    Raises:
        DipsimError: a file is missing or damaged.
    """
    if not (folder / ABOUT).is_file():
        raise DipsimError(f"adapter: '{folder}' holds no {ABOUT}; a folder that 'dipsim adapt' made")
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        config = peft.LoraConfig.from_pretrained(str(folder))
        weights = load_file(folder / WEIGHTS)
        if not {"model", "fingerprint"} <= about.keys() or not all(map(len, about["fingerprint"])):
            raise ValueError(f"{ABOUT} is incomplete")
    except (OSError, ValueError, TypeError, AttributeError, SafetensorError) as error:
        raise DipsimError(f"adapter '{folder}': cannot be read: {' '.join(str(error).split())[:200]}") from None
    return config, weights, about


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Writes what training needs to go on, whole or not at all."""
    with replacing(folder / CHECKPOINT) as temporary:
        written = io.BytesIO()  # torch would raise errors of its own where the disk is full
        torch.save(state, written)
        temporary.write_bytes(written.getbuffer())


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """What `save_checkpoint` wrote.

    Raises:
        DipsimError: it is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch makes of a damaged file
        reason = " ".join(str(error).split())[:200]
        raise DipsimError(f"resume: '{folder / CHECKPOINT}' cannot be read: {reason}") from None
    return state


def remove_checkpoint(folder: Path) -> None:
    """Training has ended."""
    (folder / CHECKPOINT).unlink(missing_ok=True)

"""What is the device: Flash, DRAM, compute and energy numbers from a strict TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic

from dipsim import shipped
from dipsim.errors import DipsimError, suggestion
from dipsim.schema import Count, Record

Positive = Annotated[float, pydantic.Field(gt=0)]
NotNegative = Annotated[float, pydantic.Field(ge=0)]


class FlashSpec(Record):
    """Flash storage. With `read_bytes_per_s` alone it is ideal: time = bytes / rate.

    With `latency_s`, `page_bytes` or `read_curve`, reads count: neighbouring missed columns join into one read, reads
    are widened to whole pages, each costs what the curve says at a full queue, the first data arrives after
    `latency_s`, and a batch of n reads takes at least latency_s * ceil(n / queue_depth).
    """

    read_bytes_per_s: Positive
    latency_s: NotNegative = 0.0
    queue_depth: Count | None = None
    page_bytes: Count | None = None
    read_curve: list[tuple[Positive, Positive]] | None = None

    @pydantic.field_validator("read_curve", mode="before")
    @classmethod
    def _pairs(cls, curve: object) -> object:
        return [tuple(p) if isinstance(p, list) else p for p in curve] if isinstance(curve, list) else curve

    @pydantic.field_validator("read_curve")
    @classmethod
    def _curve_ascends(cls, curve: list[tuple[float, float]] | None) -> list[tuple[float, float]] | None:
        if curve is None:
            return None
        if not curve:
            raise ValueError("a read_curve needs at least one [bytes, bytes_per_s]")
        seconds = [n_bytes / rate for n_bytes, rate in curve]
        for here, after in zip(range(len(curve)), range(1, len(curve)), strict=False):
            if curve[after][0] <= curve[here][0]:
                raise ValueError(f"read sizes must ascend, but {curve[after][0]:g} follows {curve[here][0]:g}")
            if seconds[after] < seconds[here]:
                raise ValueError(f"a read of {curve[after][0]:g} bytes is faster than one of {curve[here][0]:g}")
        return curve

    @property
    def is_ideal(self) -> bool:
        """Whether time depends on bytes alone."""
        return self.latency_s == 0 and self.page_bytes is None and self.read_curve is None


class DramSpec(Record):
    """Memory. `capacity_bytes - reserved_bytes` is what one model may use; `read_bytes_per_s` is achieved, not peak."""

    capacity_bytes: Positive
    reserved_bytes: NotNegative = 0
    read_bytes_per_s: Positive
    dma_writes: bool = False

    @pydantic.model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.reserved_bytes >= self.capacity_bytes:
            raise ValueError("reserved_bytes must be below capacity_bytes")
        return self


class ComputeSpec(Record):
    """The compute unit; a missing rate is infinitely fast."""

    ops_per_s: Positive | None = None
    launch_s: NotNegative = 0.0
    select_s_per_column: NotNegative = 0.0


class EnergySpec(Record):
    """Energy per byte and per operation and the power drawn always. With one number missing none is reported."""

    flash_j_per_byte: NotNegative | None = None
    dram_j_per_byte: NotNegative | None = None
    compute_j_per_op: NotNegative | None = None
    idle_w: NotNegative | None = None


class HardwareProfile(Record):
    """A device, as in `hwprofiles/<name>.toml`. SI units; each number's origin stands in a comment of the file."""

    schema_: Annotated[Literal[1], pydantic.Field(alias="schema")] = 1
    name: str
    description: str = ""
    flash: FlashSpec
    dram: DramSpec
    compute: ComputeSpec | None = None
    energy: EnergySpec | None = None

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """A shipped profile by name, or one from a TOML file; without a name of its own it gets the file's.

        Raises:
            DipsimError: no such profile, or the file is not a valid one (the key, the value and the rule).
        """
        path = find(name_or_path)
        return cls.parse({"name": path.stem} | _read_toml(path), str(path))


def find(name_or_path: str | Path) -> Path:
    """The file of a profile, by name or path.

    Raises:
        DipsimError: neither a shipped name nor a file.
    """
    known = shipped.names("hwprofiles", ".toml")
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    if not Path(name_or_path).is_file():
        raise DipsimError(
            f"profile: neither a name nor a file, got '{name_or_path}'{suggestion(str(name_or_path), known)}"
        )
    return Path(name_or_path)


def _read_toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DipsimError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise DipsimError(f"{path}: cannot be read: {error.strerror}") from None

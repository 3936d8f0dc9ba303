"""Which numbers describe a device: Flash, DRAM, compute and energy, checked."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic

from dipsim.errors import DipsimError, choose
from dipsim.notebook import as_table
from dipsim.profile.reading import find, read
from dipsim.schema import Count, CountOrZero, Record
from dipsim.units import scaled


def _not_vanishing(value: float) -> float:
    if value < _SMALLEST:
        raise ValueError(f"input should be at least {_SMALLEST}")
    return value


# Bounded, so that arithmetic on what a stranger's file says can neither overflow nor vanish.
_SMALLEST, _LARGEST = 1e-30, 1e30
Positive = Annotated[float, pydantic.Field(gt=0, le=_LARGEST), pydantic.AfterValidator(_not_vanishing)]
NotNegative = Annotated[float, pydantic.Field(ge=0, le=_LARGEST)]
Name = Annotated[str, pydantic.Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=200)]
Share = Annotated[float, pydantic.Field(gt=0, le=1), pydantic.AfterValidator(_not_vanishing)]


class FlashSpec(Record):
    """Flash storage. With `read_bytes_per_s` (and `derate`) alone it is ideal: time = bytes / rate.

    With a latency, pages, a curve, gaps, a longest read or submissions, reads count: columns that lie side by side join
    into one, reads are widened to whole pages, and each costs what the curve says. `dipsim.devices.Flash` has the
    formulas.

    Attributes:
        read_bytes_per_s: sequential reading.
        latency_s: from a batch's submission to its first data.
        queue_depth: requests in flight; None for no limit.
        page_bytes: granularity of reads; None for bytes.
        read_curve: random reads, [bytes, bytes_per_s] at a full queue, or [bytes, bytes_per_s, depth] each.
        gap_bytes: bytes between two reads, whole pages each, that are read too rather than skipped.
        max_read_bytes: a longer read is split; what goes on after the first piece is sequential, with curves by depth
            at the rate of the depth's largest read. None for no limit.
        derate: share of all rates that is left, for example of a hot phone.
        copy_bytes_per_s: at which each of the reads in flight is copied out of its buffer, where its place in the file
            or its length is no whole number of pages; None for no time.
        map_bytes_per_s: at which it maps pages of the cache, where a runtime gives back those of evicted columns; None
            for slots that stay mapped.
        submit_s: for which a core is busy with each read, before it can submit the next.
        submitters: cores that submit side by side, and under overlap `pipelined` do nothing else.
    """

    read_bytes_per_s: Positive
    latency_s: NotNegative = 0.0
    queue_depth: Count | None = None
    page_bytes: Count | None = None
    read_curve: list[tuple[Positive, ...]] | None = None
    gap_bytes: CountOrZero = 0
    max_read_bytes: Count | None = None
    derate: Share = 1.0
    copy_bytes_per_s: Positive | None = None
    map_bytes_per_s: Positive | None = None
    submit_s: NotNegative = 0.0
    submitters: Count = 1

    @pydantic.field_validator("read_curve", mode="before")
    @classmethod
    def _points(cls, curve: object) -> object:
        return [tuple(p) if isinstance(p, list) else p for p in curve] if isinstance(curve, list) else curve

    @pydantic.field_validator("read_curve")
    @classmethod
    def _curve_ascends(cls, curve: list[tuple[float, ...]] | None) -> list[tuple[float, ...]] | None:
        if curve is None:
            return None
        if not curve:
            raise ValueError("a read_curve needs at least one [bytes, bytes_per_s]")
        if {len(point) for point in curve} not in ({2}, {3}):
            raise ValueError("points must be [bytes, bytes_per_s] or [bytes, bytes_per_s, depth], all alike")
        for depth, points in _by_depth(curve).items():
            if depth is not None and depth != int(depth):
                raise ValueError(f"a depth must be a whole number of requests, got {depth:g}")
            for (size, rate), (next_size, next_rate) in itertools.pairwise(points):
                if next_size <= size:
                    raise ValueError(f"read sizes must ascend, but {next_size:g} follows {size:g}")
                if next_size / next_rate < size / rate:
                    raise ValueError(f"a read of {next_size:g} bytes is faster than one of {size:g}")
        return curve

    @pydantic.model_validator(mode="after")
    def _pieces_are_pages(self) -> Self:
        if self.max_read_bytes is not None and self.max_read_bytes % (self.page_bytes or 1):
            raise ValueError(f"max_read_bytes must be a multiple of page_bytes ({self.page_bytes})")
        return self

    @property
    def is_ideal(self) -> bool:
        """Whether time depends on bytes alone."""
        of_reads = self.page_bytes, self.read_curve, self.max_read_bytes
        none = self.latency_s == self.submit_s == self.gap_bytes == 0
        return none and of_reads == (None, None, None)

    @property
    def curves(self) -> dict[int | None, list[tuple[float, float]]]:
        """Depth -> (bytes, seconds) of one read among many, both ascending; the depth None is a full queue."""
        return {
            None if depth is None else int(depth): [(size, size / rate) for size, rate in points]
            for depth, points in sorted(_by_depth(self.read_curve or []).items(), key=lambda item: item[0] or 0)
        }


def _by_depth(curve: list[tuple[float, ...]]) -> dict[float | None, list[tuple[float, float]]]:
    grouped: dict[float | None, list[tuple[float, float]]] = {}
    for size, rate, *depth in curve:
        grouped.setdefault(depth[0] if depth else None, []).append((size, rate))
    return grouped


class DramSpec(Record):
    """Memory. `capacity_bytes - reserved_bytes` is what one model may use.

    Attributes:
        capacity_bytes: all of it.
        reserved_bytes: what the system and other applications keep.
        read_bytes_per_s: what the bus carries at most, as achieved by all units together.
        peak_bytes_per_s: the data sheet's number, against which results report how much was used.
        dma_writes: whether what Flash delivers is written to DRAM and read back from there.
        replace_bytes_per_s: at which who computes puts into slots of the cache what was read, and clears them: copies,
            or gives pages back to the system; None for no time.
    """

    capacity_bytes: Positive
    reserved_bytes: NotNegative = 0
    read_bytes_per_s: Positive
    peak_bytes_per_s: Positive | None = None
    dma_writes: bool = False
    replace_bytes_per_s: Positive | None = None

    @pydantic.model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.reserved_bytes >= self.capacity_bytes:
            raise ValueError("reserved_bytes must be below capacity_bytes")
        if self.peak_bytes_per_s is not None and self.peak_bytes_per_s < self.read_bytes_per_s:
            raise ValueError("read_bytes_per_s is what is achieved, and must not be above peak_bytes_per_s")
        return self


class ComputeUnit(Record):
    """A CPU, GPU or NPU; a missing rate is infinitely fast.

    Attributes:
        ops_per_s: operations on weights of up to `precision_bits`; those of wider weights take longer in proportion.
        prompt_ops_per_s: the same where all tokens of a prompt share a weight; None for the same rate.
        precision_bits: None where all weights are alike.
        launch_s: fixed cost of each step.
        select_s_per_column: choosing a mask, for each scored column.
        dram_bytes_per_s: what this unit alone reads from DRAM; None for all that the bus carries.
        sparse_efficiency: share of both rates that products reach which skip columns.
        busy_w: drawn, on top of what the device draws idle, while it reads from DRAM or computes.
    """

    ops_per_s: Positive | None = None
    prompt_ops_per_s: Positive | None = None
    precision_bits: Positive | None = None
    launch_s: NotNegative = 0.0
    select_s_per_column: NotNegative = 0.0
    dram_bytes_per_s: Positive | None = None
    sparse_efficiency: Share = 1.0
    busy_w: NotNegative | None = None


class ComputeSpec(ComputeUnit):
    """The unit that is used unless a run names one of `units`.

    Attributes:
        units: others by name, each with keys of its own.
    """

    units: dict[Name, ComputeUnit] = pydantic.Field(default_factory=dict)


class EnergySpec(Record):
    """Energy per byte and per operation, power while something is at work, and power drawn always. Of Flash, and of the
    unit that computes, one of the two will do, and both add up; with anything else missing no energy is reported.

    Attributes:
        flash_j_per_byte: of what Flash moves, whole pages and gaps included.
        flash_busy_w: drawn on top while Flash is busy.
        dram_j_per_byte: of what goes over the bus.
        compute_j_per_op: of an operation; a unit's power is its `busy_w`.
        idle_w: drawn all the time.
    """

    flash_j_per_byte: NotNegative | None = None
    flash_busy_w: NotNegative | None = None
    dram_j_per_byte: NotNegative | None = None
    compute_j_per_op: NotNegative | None = None
    idle_w: NotNegative | None = None

    def joules(self, unit: ComputeUnit | None) -> dict[str, list[tuple[str, float | None]]]:
        """Part -> what costs it joules, by names of columns of the table of tokens, and how many each; None for what is
        not told.

        Args:
            unit: who computes.
        """
        return {
            "flash": [("flash_bytes", self.flash_j_per_byte), ("flash_s", self.flash_busy_w)],
            "dram": [("dram_bytes", self.dram_j_per_byte)],
            "compute": [("n_ops", self.compute_j_per_op), ("unit_s", unit.busy_w if unit else None)],
            "idle": [("token_s", self.idle_w)],
        }

    def missing(self, unit: ComputeUnit | None) -> list[str]:
        """Fields without which no energy can be told; empty where all is known."""
        needed = {
            "flash": "flash_j_per_byte",
            "dram": "dram_j_per_byte",
            "compute": "compute_j_per_op",
            "idle": "idle_w",
        }
        told = {part for part, costs in self.joules(unit).items() if any(each is not None for _, each in costs)}
        return [field for part, field in needed.items() if part not in told]


class HardwareProfile(Record):
    """A device, as in `hwprofiles/<name>.toml`. SI units; each number's origin stands in a comment of the file.

    Attributes:
        slice_bytes: after so many bytes a long transfer gives way, where somebody else uses Flash or DRAM too.
    """

    schema_: Annotated[Literal[1], pydantic.Field(alias="schema")] = 1
    name: Name
    description: str = ""
    slice_bytes: Positive = 2.0**20
    flash: FlashSpec
    dram: DramSpec
    compute: ComputeSpec | None = None
    energy: EnergySpec | None = None

    def _repr_html_(self) -> str:
        flash, dram = self.flash, self.dram
        real = (
            "ideal" if flash.is_ideal else f"latency {scaled(flash.latency_s, 's')}, {flash.queue_depth or 'any'} reads"
        )
        unit = self.compute or ComputeUnit()
        ops = "not modelled" if unit.ops_per_s is None else scaled(unit.ops_per_s, "op/s")
        units = f", units {', '.join(sorted(self.compute.units))}" if self.compute and self.compute.units else ""
        usable_bytes = dram.capacity_bytes - dram.reserved_bytes
        rows = {
            "Flash": f"{scaled(flash.read_bytes_per_s * flash.derate, 'B/s')} in sequence, {real}",
            "DRAM": f"{scaled(usable_bytes, 'B')} of {scaled(dram.capacity_bytes, 'B')}, "
            f"{scaled(dram.read_bytes_per_s, 'B/s')}",
            "compute": f"{ops}{units}",
        }
        return as_table(f"{self.name}: {self.description}", rows)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """A shipped profile by name, or one from a TOML file; without a name of its own it gets the file's.

        Raises:
            DipsimError: no such profile, or the file is not a valid one (the key, the value and the rule).
        """
        path = find(name_or_path)
        return cls.parse(read(path).unwrap(), str(path))

    def unit(self, name: str | None) -> ComputeUnit | None:
        """The compute unit of that name, the profile's own without one; None where compute is not modelled.

        Raises:
            DipsimError: the profile has no such unit.
        """
        if name is None or self.compute is None:
            if name is not None:
                raise DipsimError(f"unit: got '{name}'; profile '{self.name}' has no [compute]")
            return self.compute
        return self.compute.units[choose("unit", name, tuple(self.compute.units))]

    def with_values(self, values: dict[str, Any]) -> Self:
        """A variant: `with_values({"flash.derate": 0.67})`.

        Raises:
            DipsimError: an unknown key, or a value that the profile does not allow.
        """
        data = self.model_dump(mode="json", by_alias=True)
        for path, value in values.items():
            *sections, key = path.split(".")
            table = data
            for section in sections:
                if table.get(section) is None:
                    table[section] = {}
                table = table[section]
                if not isinstance(table, dict):
                    raise DipsimError(f"{self.name}: {path}: '{section}' is a value, not a table")
            table[key] = value
        return self.parse(data, self.name)

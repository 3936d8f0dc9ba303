"""Which numbers of [flash] follow from what fio measured: one rule for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from dipsim.calibration.fio import Point
from dipsim.calibration.profile import Measured, Section

_FULL = 0.95
_PAGE_BYTES = 4096


def flash_numbers(points: Sequence[Point]) -> Section:
    """All that a profile says of Flash.

    Args:
        points: each kind, size and depth once; some are random.
    """
    random = [point for point in points if point.is_random]
    return {
        "read_bytes_per_s": _highest_rate(points),
        "latency_s": _latency(random),
        "queue_depth": _queue_depth(random),
        "page_bytes": _page(random),
        "gap_bytes": Measured(0, "D: nothing is read that is not wanted"),
        "derate": Measured(1.0, "D: as warm as it was when measured"),
        "read_curve": list(_curve(random)),
    }


def _highest_rate(points: Sequence[Point]) -> Measured:
    """The sequential rate; the largest random one where that is larger, since this number bounds them all."""
    best = max(points, key=lambda point: (point.bytes_per_s, not point.is_random))
    if all(point.is_random for point in points):
        return Measured(best.bytes_per_s, f"D: of random reads, {best.origin}; sequential reads not measured")
    return Measured(best.bytes_per_s, f"A: measured, {best.origin}{', above sequential reads' * best.is_random}")


def _latency(random: Sequence[Point]) -> Measured:
    """The mean of the smallest read at the least depth; by Little's law where fio counted reads, but timed none."""
    first = min(random, key=lambda point: (point.depth, point.read_bytes))
    latency_s, grade, origin = first.latency_s, "A: measured", first.origin
    if latency_s is None:
        per_s = first.bytes_per_s / first.read_bytes
        latency_s, grade = first.depth / per_s, "derived: latency not measured"
        origin = f"{first.depth} in flight / {per_s:.4g} reads per s, {origin}"
    if first.depth > 1:
        grade = f"D: {grade.split(': ')[1]} at depth {first.depth} alone, waiting included"
    return Measured(latency_s, f"{grade}, {origin}")


def _queue_depth(random: Sequence[Point]) -> Measured:
    """The least depth that gives nearly the best rate of the size which needs the deepest queue: the smallest of those
    that were measured at the most depths."""
    n_depths = Counter(point.read_bytes for point in random)
    size = min(n_depths, key=lambda size: (-n_depths[size], size))
    rates = {point.depth: point.bytes_per_s for point in random if point.read_bytes == size}
    depth = min(depth for depth, rate in rates.items() if rate >= _FULL * max(rates.values()))
    if len(rates) == 1:
        return Measured(depth, "D: the only depth measured, whether or not the device needs it")
    return Measured(depth, f"derived: least depth with {_FULL:.0%} of the best rate of {size}-byte reads")


def _page(random: Sequence[Point]) -> Measured:
    smallest = min(point.read_bytes for point in random)
    if smallest <= _PAGE_BYTES:
        return Measured(smallest, "derived: smallest read measured")
    return Measured(_PAGE_BYTES, f"D: page of file systems; no read below {smallest} bytes measured")


def _curve(random: Sequence[Point]) -> Iterator[Measured]:
    """By depth, then size. A larger read that seems faster than a smaller one is noise: it is given the time of the
    smaller, so that no device is made faster than it was seen to be."""
    last: tuple[int, int, int] | None = None
    for point in sorted(random, key=lambda point: (point.depth, point.read_bytes)):
        rate, size, origin = round(float(f"{point.bytes_per_s:.4g}")), point.read_bytes, f"A: measured, {point.origin}"
        if last is not None and last[0] == point.depth:
            _, last_bytes, last_rate = last
            if size * last_rate < last_bytes * rate:
                origin = f"derived: time of {last_bytes} bytes; {rate / 1e6:.4g}e6 measured, {point.origin}"
                rate = _rounded_down(size * last_rate // last_bytes)
        last = point.depth, size, rate
        yield Measured((size, float(rate), point.depth), origin)


def _rounded_down(rate: int) -> int:
    """To the four digits that a profile shows."""
    digits = str(rate)
    return int(digits[:4].ljust(len(digits), "0"))

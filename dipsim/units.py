"""Bytes between people and programs: `4GB` in, `4.00 GB` out. GB = 1e9, GiB = 2**30."""

from __future__ import annotations

import math
import re

from dipsim.errors import DipsimError

_FACTORS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_PREFIXES = (
    *((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")),
    *((1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f")),
)
_MOST = 1e18
# The B is a capital: a small b stands for bits.
_AMOUNT = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>[A-Za-z]*B)")


def parse_bytes(text: str, where: str) -> int:
    """Bytes of a text such as `4GB`, `512MiB` or `1000B`; a bare number is refused, since its unit is a guess.

    Raises:
        DipsimError: the text is not a number with one of the known units.
    """
    match = _AMOUNT.fullmatch(text.strip())
    factor = _FACTORS.get(match["unit"].upper()) if match else None
    if match is None or factor is None:
        raise DipsimError(
            f"{where}: not an amount of bytes, got '{text}'; write a number with a unit: 4GB, 512MiB, 1000B"
        )
    n_bytes = float(match["number"]) * factor
    if n_bytes > _MOST:
        raise DipsimError(f"{where}: got '{text}'; more than {scaled(_MOST, 'B')}")
    return round(n_bytes)


def parse_dram(dram: str | float | None, where: str = "dram") -> tuple[float | None, float | None]:
    """Splits a DRAM budget into (bytes, share of the model): `4GB` -> (4e9, None), `0.5x` -> (None, 0.5).

    Raises:
        DipsimError: the budget is neither, is not finite or is not above zero.
    """
    if dram is None:
        return None, None
    if isinstance(dram, str) and re.fullmatch(r"\d*\.?\d+\s*[xX]", dram.strip()):
        share = float(dram.strip()[:-1])
        if not 0 < share <= 1000:
            raise DipsimError(f"{where}: share of the model, got '{dram}'; must be above 0x and at most 1000x")
        return None, share
    try:
        n_bytes = parse_bytes(dram, where) if isinstance(dram, str) else float(dram)
    except DipsimError as error:
        raise DipsimError(f"{error}, or 0.5x for that share of the model") from None
    if not 1 <= n_bytes < float("inf"):
        raise DipsimError(f"{where}: bytes this model may use, got {dram}; must be finite and at least 1, or as '0.5x'")
    return float(n_bytes), None


def prefix_of(largest: float) -> tuple[float, str]:
    """What one of an SI prefix is, and the prefix: that in which a number has few digits, if it has any."""
    return next((pair for pair in _PREFIXES if abs(largest) >= pair[0]), (1.0, ""))


def scaled(value: float, unit: str) -> str:
    """A number with an SI prefix and three significant digits: `scaled(2.5e9, "B/s")` is `2.50 GB/s`."""
    factor, prefix = prefix_of(value)
    return f"{three_digits(value / factor)} {prefix}{unit}"


def with_error(value: float, error: float | None) -> str:
    """A number and its standard error to two digits: `25.49 +- 0.61`; four digits of the number where there is none."""
    if error is None or not 0 < error < math.inf or not math.isfinite(value):
        return f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} +- {error:.{digits}f}"


def three_digits(value: float) -> str:
    """Three significant digits without an exponent where that stays short: 1234, 12.3, 0.123."""
    if value == 0 or not 1e-3 <= abs(value) < 1e7:
        return f"{value:.3g}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"

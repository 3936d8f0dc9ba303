"""Bytes between people and programs: `4GB` in, `4.00 GB` out. GB = 1e9, GiB = 2**30."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Literal

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
_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
# The B is a capital: a small b stands for bits.
_AMOUNT = re.compile(rf"(?P<number>{_NUMBER})\s*(?P<unit>[A-Za-z]*B)|(?P<bytes>{_NUMBER}(?:[eE]\+?[0-9]{{1,3}})?)")
_SHARE = re.compile(rf"(?P<whole>{_NUMBER})\s*[xX]|(?P<percent>{_NUMBER})\s*%|mlp:\s*(?P<mlp>{_NUMBER})")
DramOf = Literal["bytes", "model", "mlp"]


def parse_bytes(text: str, where: str) -> int:
    """Bytes of a text such as `4GB`, `512MiB` or `1000B`; a number without a unit (`4000000000`, `4e9`) is of bytes.

    Raises:
        DipsimError: the text is not a number, or its unit is none of the known ones.
    """
    match = _AMOUNT.fullmatch(text.strip())
    factor = _FACTORS.get((match["unit"] or "B").upper()) if match else None
    if match is None or factor is None:
        raise DipsimError(
            f"{where}: not an amount of bytes, got '{text}'; {_nearly(text)}write a number with a unit (4GB, 512MiB) "
            "or of bytes (4000000000)"
        )
    n_bytes = float(match["number"] or match["bytes"]) * factor
    if n_bytes > _MOST:
        raise DipsimError(f"{where}: got '{text}'; more than {scaled(_MOST, 'B')}")
    return round(n_bytes)


def _nearly(text: str) -> str:
    """What may be meant by an amount whose unit lacks its B, or has a small one."""
    match = re.fullmatch(rf"({_NUMBER})\s*([kmgt])(i?)b?", text.strip(), re.IGNORECASE)
    if match is None:
        return ""
    prefix = "k" if match[2] in "kK" and not match[3] else match[2].upper()
    return f"did you mean '{match[1]}{prefix}{match[3].lower()}B'? (a small b stands for bits); "


def parse_dram(dram: str | float, where: str = "dram") -> tuple[float, DramOf]:
    """A DRAM budget as a number and what it is of: `4GB` -> (4e9, "bytes"), `0.5x` or `50%` -> (0.5,
    "model"), `mlp:0.5` -> (0.5, "mlp").

    Raises:
        DipsimError: the budget is none of them, is not finite or is not above zero.
    """
    if isinstance(dram, str) and (match := _SHARE.fullmatch(dram.strip())):
        is_of_mlp = match["mlp"] is not None
        share = float(match["percent"]) / 100 if match["percent"] else float(match["whole"] or match["mlp"])
        if not is_of_mlp and not 0 < share <= 1000:
            raise DipsimError(f"{where}: share of the model, got '{dram}'; must be above 0x and at most 1000x")
        if not 0 <= share <= 1000:
            raise DipsimError(f"{where}: share of the MLP, got '{dram}'; must be from mlp:0 to mlp:1000")
        return share, "mlp" if is_of_mlp else "model"
    try:
        n_bytes = parse_bytes(dram, where) if isinstance(dram, str) else float(dram)
    except DipsimError as error:
        raise DipsimError(
            f"{error}, or 0.5x for that share of the model, mlp:0.5 for that share of its MLP and all else"
        ) from None
    if not 1 <= n_bytes < float("inf"):
        raise DipsimError(f"{where}: bytes this model may use, got {dram}; must be finite and at least 1, or as '0.5x'")
    return float(n_bytes), "bytes"


def typed(n_bytes: float) -> str:
    """Bytes as one types them, in three significant digits and never fewer than they are: `typed(2_345_001)` is
    `2.35MB`."""
    whole = math.ceil(n_bytes)
    if whole < 1000:
        return f"{whole}B"
    factor, prefix = prefix_of(whole)
    digits = max(0, 2 - math.floor(math.log10(whole / factor)))
    up = math.ceil(Fraction(whole) * 10**digits / int(factor))
    return f"{up / 10**digits:.{digits}f}{prefix}B"


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
    digits = min(max(0, 1 - math.floor(math.log10(error))), 6)
    return f"{value:.{digits}f} +- {error:.{digits}f}"


def three_digits(value: float) -> str:
    """Three significant digits without an exponent where that stays short: 1234, 12.3, 0.123."""
    if value == 0 or not 1e-3 <= abs(value) < 1e7:
        return f"{value:.3g}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"

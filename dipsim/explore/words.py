"""How do numbers look on the page: the answer in large letters, its band, a table. Text in them may be a stranger's."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from dipsim.estimation import PRESETS
from dipsim.explore.answers import DEFAULT, Answer
from dipsim.results.columns import meaning_of
from dipsim.results.naming import flat, readable
from dipsim.units import scaled, three_digits

# Numbers of a run, under the names of its results.
_ROWS = (
    *("tok_per_s", "tpot_s.mean", "ttft_s", "hit_rate", "mlp_error"),
    *("bytes_per_token.flash", "bytes_per_token.dram", "energy_j_per_token", "bound"),
)


def headline(answer: Answer) -> str:
    """Tokens per second, and the band where it is known."""
    rates = _rates(answer)
    base = next((name for name in rates if name not in PRESETS), None)
    beside = "" if base is None else f"; {escape(base)} {three_digits(rates[base])}"
    band = "refining the band ..."
    if answer.is_whole:
        low, *_, high = (three_digits(rate) for rate in sorted(rates[preset] for preset in PRESETS))
        band = f"{low} to {high}{beside}" if low != high else f"whatever the scores{beside}"
    return f'<span class="rate">{three_digits(rates[DEFAULT])}</span> tok/s <span class="band">{band}</span>'


def most_of(shown: Mapping[str, Answer]) -> float:
    """The highest tokens per second."""
    return max(rate for answer in shown.values() for rate in _rates(answer).values())


def band(shown: Mapping[str, Answer], most_rate: float) -> str:
    """A line for each set-up: low to high, default as a dot, dense (or no cache) as a tick; up to a rate, or more where
    there is more."""
    all_rates = {name: _rates(answer) for name, answer in shown.items()}
    most = 1.05 * max(most_rate, most_of(shown))
    lines = "".join(_line(name, rates, most, place) for place, (name, rates) in enumerate(all_rates.items()))
    bases = {name for rates in all_rates.values() for name in rates if name not in PRESETS}
    tick = f"; tick: {escape(', '.join(sorted(bases)))}" if bases else ""
    scale = f'<div class="scale"><span>0</span><span>{three_digits(most)} tok/s</span></div>'
    return f'{lines}{scale}<p class="legend">bar: low to high locality; dot: default{tick}</p>'


def table(shown: Mapping[str, Answer]) -> str:
    """The numbers of every run; of the pinned set-up, those at the default preset."""
    this, *others = shown.items()
    compared = {DEFAULT: this[1].default} | {name: answer.default for name, answer in others}
    names = [*(compared if others else ()), *PRESETS, this[1].base]
    known = compared | this[1].numbers
    columns = {name: flat(known.get(name, {})) for name in names}
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    rows = "".join(_row(name, columns) for name in _ROWS)
    own = this[1].default
    groups = ", ".join(f"{escape(group)} {rate:.3f}" for group, rate in own["hit_rate_by_group"].items())
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Numbers"><table><thead><tr><td></td>{head}</tr>'
        f'</thead><tbody>{rows}</tbody></table></div><p class="legend">Hit rate by group, {DEFAULT}: {groups}; '
        f"of bytes {own['byte_hit_rate']:.3f}.</p>"
    )


def _row(name: str, columns: Mapping[str, Mapping[str, Any]]) -> str:
    cells = "".join(f"<td>{escape(_value(name, numbers))}</td>" for numbers in columns.values())
    return f'<tr><th scope="row">{escape(meaning_of(name).label)}</th>{cells}</tr>'


def _value(name: str, numbers: Mapping[str, Any]) -> str:
    """A number with its unit; a dash where it was not modelled, dots where the run is yet to come."""
    value = numbers.get(name)
    if value is None or isinstance(value, str):
        return readable(value) if value else "-" if numbers else "..."
    meaning = meaning_of(name)
    if meaning.is_prefixed:
        return scaled(value, meaning.unit)
    return three_digits(value) if meaning.unit else f"{value:.3f}"


def _rates(answer: Answer) -> dict[str, float]:
    return {name: float(numbers["tok_per_s"]) for name, numbers in answer.numbers.items()}


def _line(name: str, rates: Mapping[str, float], most: float, place: int) -> str:
    def at(rate: float) -> str:
        return f"{100 * rate / most:.2f}%"

    known = [rate for run, rate in rates.items() if run in PRESETS]
    low, high = min(known), max(known)
    base = next((rate for run, rate in rates.items() if run not in PRESETS), None)
    tick = "" if base is None else f'<i class="tick" style="left:{at(base)}"></i>'
    said = f"{name}: {three_digits(rates[DEFAULT])} tok/s, {three_digits(low)} to {three_digits(high)}"
    return (
        f'<div class="line line{place}" role="img" aria-label="{escape(said)}"><span>{escape(name)}</span>'
        f'<div class="track"><i class="bar" style="left:{at(low)};width:{at(high - low)}"></i>{tick}'
        f'<i class="dot" style="left:{at(rates[DEFAULT])}"></i></div></div>'
    )

"""How does a thing look in a notebook: a small table, a bar of its parts. Text in them may be a stranger's."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

# Told apart by the colour-blind, as in figures.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#777777")


def as_table(title: str, rows: Mapping[str, str]) -> str:
    """A heading, and a row for each name and what is said of it."""
    cell = '<td style="text-align:left">'
    cells = "".join(
        f"<tr>{cell}<b>{escape(name)}</b></td>{cell}{escape(said)}</td></tr>" for name, said in rows.items()
    )
    return f"{f'<p>{escape(title)}</p>' if title else ''}<table>{cells}</table>"


def as_bar(parts: Mapping[str, float]) -> str:
    """A bar divided in proportion, each part with its name and share; nothing of what is nothing.

    Args:
        parts: name -> amount, not negative.
    """
    whole = sum(parts.values())
    shares = {name: amount / whole for name, amount in parts.items() if amount > 0}
    spans = legend = ""
    for place, (name, share) in enumerate(shares.items()):
        colour, told = _COLOURS[place % len(_COLOURS)], f"{escape(name)} {100 * share:.0f} %"
        look = f"display:inline-block;height:14px;width:{100 * share:.3f}%;background:{colour}"
        spans += f'<span title="{told}" style="{look}"></span>'
        legend += f'<span style="color:{colour}">&#9632;</span> {told} &ensp;'
    whole_look = "width:480px;max-width:100%;white-space:nowrap;font-size:0"  # no gaps between the parts
    return f'<div style="{whole_look}">{spans}</div><small>{legend}</small>'

"""What a layout answers, the rule that holds for all of them, and how one is found by name.

Columns that lie side by side and are missed together are fetched by one read. A layout puts the columns of one
(layer, group) in order once, before the simulation, from what the first tokens of the trace use. A layout with options
is a dataclass: its fields are what `--layout-option` sets and what a result's configuration records.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Int32Array
from dipsim.model.groups import Group
from dipsim.registry import Registry, blaming


class Layout(Protocol):
    """Where the columns of a (layer, group) lie. One instance serves all of them.

    Some things may be there or not. `fused`: where matrices lie apart, gate and up do not; False by default.
    `aligned`: a region begins with a page, rather than in the middle of one; True by default. `in_turn`: matrices that
    lie apart are multiplied one after another, each by all that is used of it; False by default. `reads(group)`: where
    each column is read apart, in equal reads, the share of the missed columns that need each of them. `n_layers`: of
    how many consecutive layers the same column lies side by side, in the order of the first of them; 1 by default.
    """

    @property
    def bundled(self) -> bool:
        """True: the matrices of a group are interleaved, a column is one piece. False: each matrix is a region of its
        own, and a column has a piece in each."""

    @property
    def calibration_tokens(self) -> int:
        """How many of the trace's first tokens `order` wants to see; 0 for none."""

    def order(self, active: BoolArray) -> Int32Array:
        """Columns in the order in which they lie in the file.

        Args:
            active: bool [token, column], masks of the calibration tokens; fewer where the trace is shorter.

        Returns:
            int32 [column], each column once.
        """


_NEEDS = ("bundled", "calibration_tokens", "order")
layouts: Registry[Callable[..., Layout]] = Registry("layout", entry_point_group="dipsim.layouts", needs=_NEEDS)
L = TypeVar("L", bound=Callable[..., Layout])


def register_layout(name: str) -> Callable[[L], L]:
    """Decorator: the class is found under this name from now on.

    Raises:
        DipsimError: the name is taken.
    """
    return layouts.register(name)  # type: ignore[return-value]


def make(name: str, **options: object) -> Layout:
    """A layout by name.

    Raises:
        DipsimError: unknown layout, an option it does not have, or a value out of range.
    """
    layout: Layout = layouts.make(name, options)
    return layout


def name_and_options(layout: Layout) -> tuple[str, dict[str, Any]]:
    """The layout as plain data, such that `make(name, **options)` is the same; the class's own name where it is not
    registered."""
    return layouts.name_and_options(layout)


def pieces_of(layout: Layout, group: Group) -> tuple[int, ...]:
    """Matrices of the group in each region that a column has a piece in; each piece is a read of its own."""
    n = group.n_matrices
    has_gate_and_up = n == 3 or {"gate", "up"} <= {*group.name.split("_")}
    if layout.bundled:
        return (n,)
    if getattr(layout, "fused", False) and has_gate_and_up:
        return (2,) + (1,) * (n - 2)
    return (1,) * n


def first_share(layout: Layout, group: Group) -> float:
    """Of a group's products, the share that precede all others: of its first matrices, where these come in turn."""
    pieces = pieces_of(layout, group)
    return pieces[0] / sum(pieces) if getattr(layout, "in_turn", False) else 1.0


def is_aligned(layout: Layout) -> bool:
    """Whether regions begin with a page."""
    return bool(getattr(layout, "aligned", True))


def n_layers_beside(layout: Layout) -> int:
    """Of how many consecutive layers the same column lies side by side, but for groups that are dense."""
    return int(getattr(layout, "n_layers", 1))


def reads_of(layout: Layout, group: Group) -> tuple[float, ...]:
    """Where each column of a group is read apart, in equal reads: the share of the missed columns that need each of
    them. Empty where neighbours join, as in groups that are dense."""
    own = getattr(layout, "reads", None)
    if own is None or group.site is None:
        return ()
    with blaming(layout, lambda: f"layout {type(layout).__name__}: reads"):
        return tuple(float(share) for share in own(group))


def order_columns(layout: Layout, active: BoolArray) -> Int32Array:
    """What `layout.order` answers, checked.

    Raises:
        DipsimError: not each column once.
    """
    n_columns = active.shape[1]
    with blaming(layout, lambda: f"layout {type(layout).__name__}: order"):
        answer = layout.order(active)
    try:
        order = np.asarray(answer)
    except ValueError:  # lists of different lengths
        order = np.empty(0, np.int32)
    if order.dtype.kind not in "iu" or not np.array_equal(np.sort(order, axis=None), np.arange(n_columns)):
        raise DipsimError(
            f"layout {type(layout).__name__}: order: got {order.dtype} of shape {order.shape}; must be each of "
            f"{n_columns} columns once, by index"
        )
    return order.reshape(n_columns).astype(np.int32)

"""How many slots does each cache get: budgets that turn cache bytes into slots, each one function, found by name."""

from dipsim.budgets.by_bytes import by_bytes
from dipsim.budgets.marginal import marginal
from dipsim.budgets.protocol import (
    LOST_IN_FLOATS,
    Budget,
    BudgetRequest,
    HitCurve,
    allot,
    budgets,
    pin_dense,
    register_budget,
)
from dipsim.budgets.uniform import uniform
from dipsim.registry import lists_when_called

__all__ = [
    "LOST_IN_FLOATS",
    "Budget",
    "BudgetRequest",
    "HitCurve",
    "allot",
    "budgets",
    "by_bytes",
    "marginal",
    "pin_dense",
    "register_budget",
    "uniform",
]

lists_when_called(__name__)

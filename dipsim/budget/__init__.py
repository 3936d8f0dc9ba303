"""How is DRAM divided: the plan, and budgets that turn cache bytes into slots, each one function, found by name."""

from dipsim.budget.by_bytes import by_bytes
from dipsim.budget.marginal import marginal
from dipsim.budget.plan import DramPlan, plan_dram
from dipsim.budget.protocol import Budget, BudgetRequest, HitCurve, allot, budgets, pin_dense, register_budget
from dipsim.budget.uniform import uniform

__all__ = [
    "Budget",
    "BudgetRequest",
    "DramPlan",
    "HitCurve",
    "allot",
    "budgets",
    "by_bytes",
    "marginal",
    "pin_dense",
    "plan_dram",
    "register_budget",
    "uniform",
]

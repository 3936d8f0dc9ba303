"""The same bytes for each matrix."""

from __future__ import annotations

from dipsim.budgets.protocol import BudgetRequest, register_budget


@register_budget("uniform")
def uniform(request: BudgetRequest) -> dict[str, list[int]]:
    """The same bytes for each masked matrix of every layer; what a group has no columns for stays unused."""
    layers = range(request.model.n_layers)
    n_matrices = sum(group.n_matrices for group in request.groups for layer in layers if group.columns_in(layer))
    matrix_bytes = request.cache_bytes / n_matrices
    return {
        group.name: [request.fitting(group, matrix_bytes * group.n_matrices, layer) for layer in layers]
        for group in request.groups
    }

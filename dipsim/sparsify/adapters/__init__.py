"""LoRA on the layers whose inputs a method masks: how it learns, where it is kept, and how it enters a model."""

from dipsim.sparsify.adapters.folder import check_folder
from dipsim.sparsify.adapters.lora import adapted
from dipsim.sparsify.adapters.recipe import LOSSES, Recipe
from dipsim.sparsify.adapters.training import Learnt, train

__all__ = ["LOSSES", "Learnt", "Recipe", "adapted", "check_folder", "train"]

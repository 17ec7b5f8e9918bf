"""Who writes programs: models, and how code is taken from their replies."""

from groundrun.models.extraction import Extraction, Rule, complete_prompt, extract
from groundrun.models.model import FiniteModel, Model
from groundrun.models.mutant import Mutant, Mutation, mutate, read_mutation
from groundrun.models.oracle import Oracle
from groundrun.models.replay import Replay

__all__ = [
    "Extraction",
    "FiniteModel",
    "Model",
    "Mutant",
    "Mutation",
    "Oracle",
    "Replay",
    "Rule",
    "complete_prompt",
    "extract",
    "mutate",
    "read_mutation",
]

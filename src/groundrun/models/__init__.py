"""Who writes programs: models, and how code is taken from their replies."""

from groundrun.models.extraction import Extraction, Rule, complete_prompt, extract
from groundrun.models.model import Model
from groundrun.models.oracle import Oracle
from groundrun.models.replay import Replay

__all__ = ["Extraction", "Model", "Oracle", "Replay", "Rule", "complete_prompt", "extract"]

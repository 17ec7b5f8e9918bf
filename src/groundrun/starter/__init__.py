"""Our own small problems, with candidates whose verdicts are known."""

from __future__ import annotations

from groundrun.starter.catalogue import Candidate, Idea, StarterProblem, load_starter

__all__ = ["Candidate", "Idea", "StarterProblem", "load_starter"]

"""Our own small problems, with candidates whose verdicts are known."""

from __future__ import annotations

from groundrun.starter.catalogue import Candidate, Idea, Kind, StarterProblem, load_starter

__all__ = ["Candidate", "Idea", "Kind", "StarterProblem", "load_starter"]

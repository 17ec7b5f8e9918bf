"""Deciding from what came back whether a completion solves its problem."""

from __future__ import annotations

from groundrun.judging.calibration import REFERENCE_PASSES, Calibration, acalibrate, calibrate
from groundrun.judging.grading import JUDGE_VERSION
from groundrun.judging.judge import ajudge, judge, submit_judge

__all__ = ["JUDGE_VERSION", "REFERENCE_PASSES", "Calibration", "acalibrate", "ajudge", "calibrate", "judge", "submit_judge"]

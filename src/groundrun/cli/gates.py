"""Gates: demands on a score or on a difference, and the exit status that follows; shared by the verbs that end with an answer.

A gate is text such as `pass@1>=0.8` or `difference>=-2%`, read before anything runs. What is missing meets no gate: a score
that leaves tasks out, a k that can't be estimated, a comparison that leaves tasks out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
import msgspec

from groundrun.benchmarks.comparison import Comparison
from groundrun.benchmarks.metrics import Metrics
from groundrun.benchmarks.runner import Summary
from groundrun.reports.phrases import count

Function = TypeVar("Function", bound=Callable[..., Any])
OUR_FAULT = 3
_COMPARED = r"\s*(>=|>)\s*(-?[0-9]+(?:\.[0-9]+)?)\s*(%?)\s*"


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """A demand: `measure` (`pass@1`, `difference`, `low`) has to be at least, or above, `least`."""

    text: str
    measure: str
    strict: bool
    least: float

    def meets(self, value: float) -> bool:
        """Whether a value is enough."""
        return value > self.least if self.strict else value >= self.least


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """A gate and what came of it. `why` says what stood in the way when it is not met."""

    gate: str
    met: bool
    value: float | None = None
    why: str = ""

    def describe(self) -> str:
        """One line for people."""
        return f"gate      {self.gate} is {'met' if self.met else f'NOT met: {self.why}'}"


def read_gates(ctx: click.Context | None, param: click.Parameter | None, texts: tuple[str, ...]) -> tuple[Gate, ...]:
    """Read gates such as `pass@1>=0.8` or `pass@1>=80%`. Raises click.BadParameter, before anything runs."""
    return tuple(_read(text, r"pass@[1-9][0-9]*", least=0.0, hint="'pass@1>=0.8' or 'pass@1>=80%'", ctx=ctx, param=param) for text in texts)


def read_difference_gates(ctx: click.Context | None, param: click.Parameter | None, texts: tuple[str, ...]) -> tuple[Gate, ...]:
    """Read gates such as `difference>=-0.02` or `low>=-5%`. Raises click.BadParameter, before anything runs."""
    return tuple(
        _read(text, "difference|low", least=-1.0, hint="'difference>=-0.02' or 'low>=-5%'", ctx=ctx, param=param) for text in texts
    )


def _read(text: str, measures: str, *, least: float, hint: str, ctx: click.Context | None, param: click.Parameter | None) -> Gate:
    found = re.fullmatch(rf"\s*({measures}){_COMPARED}", text)
    value = float(found[3]) / (100 if found[4] else 1) if found else 0.0
    if not found or not least <= value <= 1:
        raise click.BadParameter(f"{text!r} is not a gate such as {hint}", ctx=ctx, param=param)
    return Gate(text=text.strip(), measure=found[1], strict=found[2] == ">", least=value)


def score_options(function: Function) -> Function:
    """--k, --repeat, --gate and --allow-unprotected: what the verbs that score a run are asked."""
    for option in (
        click.option("--allow-unprotected", is_flag=True, help="Let gates count passes judged without protection."),
        click.option("--gate", "gates", callback=read_gates, multiple=True, help="Demand a score, such as 'pass@1>=0.8'; again for more."),
        click.option(
            "--repeat",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            help="Runs of each program. Where they disagree it is flaky, and passes only if all of them passed.",
        ),
        click.option(
            "--k", "ks", type=click.IntRange(min=1), multiple=True, help="A k of pass@k, again for more; 1, 10 and 100 by default."
        ),
    ):
        function = option(function)
    return function


def choose_ks(ks: Sequence[int], gates: Sequence[Gate], *, fewest: int) -> list[int]:
    """The k of pass@k to estimate: those asked for, or the usual ones that `fewest` samples a task allow, and those of the gates."""
    of_gates = (int(gate.measure.removeprefix("pass@")) for gate in gates)
    return sorted({*(ks or [k for k in (1, 10, 100) if k <= fewest]), *of_gates})


def check_gate(gate: Gate, metrics: Metrics, *, allow_unprotected: bool = False) -> GateResult:
    """Hold a gate against the scores. A score that leaves tasks out, or that can't be estimated, meets no gate."""
    estimates = metrics.with_unprotected or metrics.estimates if allow_unprotected else metrics.estimates
    value = next((estimate.value for estimate in estimates if estimate.name == gate.measure), None)
    if value is None:
        few = "no sample" if gate.measure == "pass@1" else f"fewer than {gate.measure.removeprefix('pass@')} samples"
        return GateResult(gate=gate.text, met=False, why=f"{gate.measure} can't be estimated: a task has {few} with an answer")
    if not metrics.complete:
        absent = len(metrics.missing_tasks) + len(metrics.masked_tasks)
        tasks = "1 task of the benchmark has" if absent == 1 else f"{absent} tasks of the benchmark have"
        return GateResult(gate=gate.text, met=False, value=value, why=f"{tasks} no verdict")
    return _hold(gate, value)


def check_difference(gate: Gate, comparison: Comparison) -> GateResult:
    """Hold a gate against a comparison. One that leaves tasks out meets no gate."""
    value = comparison.difference.low if gate.measure == "low" else comparison.difference.value
    if left_out := len(comparison.left_out):
        return GateResult(gate=gate.text, met=False, value=value, why=f"{count(left_out, 'task')} can't be compared")
    return _hold(gate, value)


def _hold(gate: Gate, value: float) -> GateResult:
    met = gate.meets(value)
    return GateResult(gate=gate.text, met=met, value=value, why="" if met else f"it is {value:.4f}")


def find_status(summary: Summary, results: Sequence[GateResult]) -> int:
    """The exit status of a run: 3 when faults of ours masked something, 1 when a gate is not met, else 0."""
    if summary.metrics.masked or summary.gold.masked:
        return OUR_FAULT
    return 0 if all(result.met for result in results) else 1

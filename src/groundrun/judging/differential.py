"""Differential tests: what the reference says is asked once (`find_truth`), then every candidate is held against it (`differ`).

The reference's word reaches only jailed graders: the host hands it on without looking inside. Each test has a candidate process of its own,
so that what one test leaves in the candidate's globals can't change another.

Limits. An input may take max(`least_s`, `factor` x the reference's time on it), a test `most_s` and a second. On the processor's clock no
timer inside the candidate decides: a run gets the allowance of its first input and what the reference needs for all that follow, on the
kernel's clock; when it ends there, the input that ran is out of time if the run could not have used the missing part before it, which
the grader's clock bounds; otherwise the test goes on from that input in a fresh process with a fresh allowance. So a short input beside
others is never cut early, and one that came late in a long test may get more than its own allowance, never more than the test's. What
a candidate that has failed can do besides is asked for a quarter of a second on the wall's clock; the rest is not reached. (Ours; published
harnesses set alarms on the wall's clock.)
"""

from __future__ import annotations

import msgspec

from groundrun.engine import Job
from groundrun.errors import EngineError, UsageError
from groundrun.judging.grading import (
    GRADER_CPU_S,
    GRADER_MEMORY_BYTES,
    SERVER,
    Failure,
    Findings,
    add_costs,
    describe_outside,
    scan_grader,
)
from groundrun.judging.steps import Pair, Plan
from groundrun.records import Cost, DifferentialTest, Execution, Limits, Outcome, Problem, Program

TRUTH = "groundrun.judging.guest.truth"
GRADER = "groundrun.judging.guest.differential"
EVALPLUS = "evalplus"
COMPATS = ("", EVALPLUS)
GONE = "the candidate's process ended before its tests were finished"
TOO_LONG = "a call took longer than allowed by the clock on the wall"
START_S = 0.25  # of processor time for executing the source, beside the first input's allowance
TRUTH_CPU_S, TRUTH_BYTES = 120.0, 256 << 20


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """What the reference says to one differential test.

    `data` is a pickle, opaque to the host, for graders; `seconds` the reference's processor time on each input; `left_out` numbers inputs
    that no candidate is asked, being too large to cross or because the reference raised; `refused` those where the reference fails itself.
    """

    data: bytes
    seconds: tuple[float, ...]
    left_out: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return f"Truth({len(self.seconds)} inputs, {len(self.data)} bytes)"


class _TruthReport(msgspec.Struct, frozen=True):
    seconds: tuple[float, ...]
    left_out: tuple[int, ...]
    refused: tuple[int, ...]
    uncrossable: str


class _Report(msgspec.Struct, frozen=True):
    """What the grader hands back; see `guest.differential`."""

    results: str
    failure: Failure | None
    reached: bool
    stopped: bool
    before_s: float


def find_truth(problem: Problem, test: DifferentialTest) -> Plan[Truth]:
    """Run the reference on every input. Raises UsageError for a test that can't be asked, EngineError when the reference fails."""
    if test.compat not in COMPATS:
        raise UsageError(f"test {test.name!r} asks for compat {test.compat!r}: known is {EVALPLUS!r}")
    if problem.reference is None or problem.entry_point is None:
        raise UsageError(f"problem {problem.task_id!r} has a differential test, which needs a reference and an entry point")
    program = Program(problem.reference, files=problem.files, entry_point=problem.entry_point)
    limits = Limits(cpu_s=TRUTH_CPU_S, wall_s=3 * TRUTH_CPU_S, memory_bytes=2 * GRADER_MEMORY_BYTES, output_bytes=TRUTH_BYTES)
    payload = msgspec.json.encode({"name": problem.entry_point, "inputs": test.inputs, "tolerance": test.tolerance, "oracle": test.oracle})
    (execution,) = yield Job(program=program, limits=limits, guest=TRUTH, payload=payload)
    if execution.outcome is not Outcome.OK or execution.truncated:
        error = execution.exception
        why = f"{error.type}: {error.message[:200]}" if error else execution.outcome.describe()
        raise EngineError(f"the reference of {problem.task_id} can't say what test {test.name!r} expects: {why}")
    report = msgspec.json.decode(execution.report, type=_TruthReport)
    if report.uncrossable:
        raise UsageError(f"test {test.name!r} of {problem.task_id} can't be asked: {report.uncrossable}")
    if len(report.left_out) == len(report.seconds):
        why = "the reference raises on all of them" if report.refused else "there are none"
        raise UsageError(f"test {test.name!r} of {problem.task_id} has no inputs that can be asked: {why}")
    return Truth(data=execution.stdout, seconds=report.seconds, left_out=report.left_out, refused=report.refused)


def differ(problem: Problem, source: str, test: DifferentialTest, truth: Truth, limits: Limits) -> Plan[Findings]:
    """Hold a program against the truth, input by input. The test says how much time an input may take; `limits` bound the whole test."""
    run = _Run(problem, source, test, truth, limits)
    while not run.ended:
        done = yield run.next_step()
        report = _read(done[1])
        if report is None:  # once more, so that one hiccup of the host decides nothing
            done = yield run.next_step()
            report = _read(done[1])
        if report is None and not done[1].report:  # it ended before it met the candidate: did the candidate do that?
            innocent = yield run.innocent_step()
            if not innocent[1].report:
                raise EngineError(f"a grader ended before it began: {done[1].outcome.describe()}")
        run.take(done[0], done[1], report)
    return run.findings()


class _Run:
    """One program on its way through one test. `_results` holds a letter for each input that was answered."""

    def __init__(self, problem: Problem, source: str, test: DifferentialTest, truth: Truth, limits: Limits) -> None:
        self._problem, self._test, self._truth, self._limits = problem, test, truth, limits
        self._program = Program(source, files=problem.files, entry_point=problem.entry_point)
        self._seconds = [each for number, each in enumerate(truth.seconds) if number not in truth.left_out]
        self._allowances = [max(test.least_s, test.factor * each) for each in self._seconds]
        self._total_s = min(min(test.most_s, sum(self._allowances)) + 1.0, limits.cpu_s)
        self._scan = scan_grader(source, test.oracle or "")
        self._walled = test.compat == EVALPLUS
        self._results = ""
        self._cost = Cost()
        self._last: tuple[Execution, Execution] | None = None
        self._failure: Failure | None = None
        self._outcome, self._reason = Outcome.OK, "a test failed"
        self.ended = False

    def next_step(self) -> Pair:
        """The candidate from the first unanswered input on."""
        return Pair(self._candidate(self._program), self._grader())

    def innocent_step(self) -> Pair:
        """The same grader with a program that does nothing."""
        return Pair(self._candidate(Program("", files=self._problem.files, entry_point=self._problem.entry_point)), self._grader())

    def _candidate(self, program: Program) -> Job:
        left_s = max(self._total_s - self._cost.cpu_s, 0.1)
        first = len(self._results)
        cpu_s = self._total_s if self._walled else min(START_S + self._allowances[first] + sum(self._seconds[first:]), left_s)
        wall_s = self._total_s + 1.0 if self._walled else max(self._limits.wall_s, 4 * cpu_s)
        return Job(program=program, limits=msgspec.structs.replace(self._limits, cpu_s=cpu_s, wall_s=wall_s), guest=SERVER)

    def _grader(self) -> Job:
        task = {
            "name": self._problem.entry_point,
            "start": len(self._results),
            "tolerance": self._test.tolerance,
            "sticky": self._walled,
            "oracle": self._test.oracle,
            "walls": self._allowances if self._walled else None,
            "stop": self._walled,
        }
        head = msgspec.json.encode(task)
        payload = len(head).to_bytes(4, "little") + head + self._truth.data
        cpu_s = max(GRADER_CPU_S, self._total_s)
        limits = Limits(cpu_s=cpu_s, wall_s=4 * self._total_s + 3 * cpu_s, memory_bytes=GRADER_MEMORY_BYTES, output_bytes=1 << 20)
        return Job(program=Program("", files=self._problem.files), limits=limits, guest=GRADER, payload=payload, scan=self._scan)

    def take(self, candidate: Execution, grader: Execution, report: _Report | None) -> None:
        """Note what one run gave."""
        self._cost = add_costs([self._cost, candidate.cost])
        self._last = (candidate, grader)
        outcome = Outcome.OK if candidate.outcome is Outcome.CANCELLED else candidate.outcome
        if report is None:
            self._end(outcome, f"the grader couldn't finish reading or comparing what the candidate gave: {grader.outcome.describe()}")
            return
        self._results += report.results
        self._failure = self._failure or report.failure
        if not report.reached:
            self._end(outcome, _explain_unreached(candidate, outcome, report))
        elif report.stopped or len(self._results) == len(self._allowances):
            self._finish(outcome)
        elif outcome is Outcome.CPU_LIMIT and not self._walled and self._cost.cpu_s < self._total_s:
            if report.results and candidate.cost.cpu_s - report.before_s < self._allowances[len(self._results)]:
                return  # the input that ran may have had too little time: it comes first in the next run
            self._end(outcome, outcome.describe())
        else:
            self._end(outcome, GONE if outcome is Outcome.OK else outcome.describe())

    def _finish(self, outcome: Outcome) -> None:
        """Every input that was to be asked has its answer."""
        self.ended = True
        failure = self._failure
        if outcome is Outcome.SIGNALLED or (outcome.is_limit and outcome is not Outcome.WALL_LIMIT):
            self._outcome, self._reason = outcome, outcome.describe()
            self._results = self._results[:-1] + "-"
        elif failure is not None and failure.refused:
            self._outcome = Outcome.WALL_LIMIT if failure.refused == TOO_LONG else Outcome.OK
            self._reason = failure.refused
        elif failure is not None and failure.by_candidate:
            self._outcome = Outcome.MEMORY_LIMIT if failure.type == "MemoryError" else Outcome.RAISED
            self._reason = f"the candidate raised {failure.type}"

    def _end(self, outcome: Outcome, reason: str) -> None:
        """The input that ran has failed, and those after it are not reached."""
        self.ended = True
        self._outcome, self._reason = outcome, reason
        if len(self._results) < len(self._allowances):
            number = len(self._results)
            self._results += "-"
            self._failure = self._failure or Failure(
                test=number, refused="", message=f"input {number}: {reason}", type=None, by_candidate=False, line=None, output=""
            )

    def findings(self) -> Findings:
        """What came of the whole test."""
        assert self._last is not None
        total = len(self._allowances)
        passed = self._results == "+" * total
        return Findings(
            passed=(passed,),
            inputs=(self._letters(),),
            reason="every test passed" if passed else self._reason,
            outcome=Outcome.OK if passed else self._outcome,
            cost=self._cost,
            isolation=self._last[0].isolation,
            exception=self._last[0].exception,
            failure=None if passed or self._failure is None else msgspec.structs.replace(self._failure, test=min(self._failure.test, 0)),
            grader_cpu_s=self._last[1].cost.cpu_s,
        )

    def _letters(self) -> str:
        """`TestVerdict.inputs`."""
        letters = iter(self._results.ljust(len(self._allowances), "."))
        return "".join("x" if number in self._truth.left_out else next(letters) for number in range(len(self._truth.seconds)))


def _explain_unreached(candidate: Execution, outcome: Outcome, report: _Report) -> str:
    """Why a candidate was never asked anything."""
    if candidate.exception is not None and outcome is Outcome.RAISED:
        return describe_outside(candidate.exception)
    if outcome is Outcome.OK and report.failure is not None:
        return report.failure.refused
    return outcome.describe()


def _read(grader: Execution) -> _Report | None:
    if grader.outcome in (Outcome.NOT_RUN, Outcome.CANCELLED, Outcome.TOOLCHAIN_MISSING):
        raise EngineError(f"a grading was not carried out (grader {grader.outcome.value}): run it again")
    if grader.outcome is not Outcome.OK:
        return None
    try:
        return msgspec.json.decode(grader.report, type=_Report)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None

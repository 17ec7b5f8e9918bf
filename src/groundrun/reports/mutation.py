"""The report on a run of mutants, in plain text: the kill rate with its interval, by operator, and who survived.

Lists the first survivors only, spread over the tasks that have them; `--json` gives every one. Everything that comes from a data set
is made printable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from groundrun.benchmarks.mutation import Kills, MutationScore, Survivor
from groundrun.reports.phrases import count, make_printable, percent

SHOWN = 20
_NAMES = 5


def render_mutation(score: MutationScore, *, shown: int = SHOWN) -> str:
    """Lines about a run of mutants, without a line end at the end; at most `shown` survivors are listed."""
    return "\n".join(_lines(score, shown))


def _lines(score: MutationScore, shown: int) -> Iterator[str]:
    if score.overall is None:
        yield "kill rate none: no mutant has a verdict that counts"
    else:
        mutants, tasks = count(score.overall.mutants, "mutant"), count(sum(task.mutants > 0 for task in score.tasks), "task")
        level = f"{100 * score.level:.0f} % interval"
        yield f"kill rate {_rate(score.overall, level)}: {score.overall.killed} of {mutants} of {tasks} killed"
        width = max(len(kills.name) for kills in score.operators)
        for kills in score.operators:
            yield f"  {kills.name:<{width}}  {_rate(kills, level)}: {kills.killed} of {kills.mutants}"
    if score.masked:
        yield f"masked    {count(score.masked, 'mutant')}: our faults, left out"
    if score.unsound:
        tasks = count(len(score.unsound), "task")
        yield f"warning   the mutants of {tasks} whose reference did not pass are left out: {_name(score.unsound)}"
    if score.fewer:
        have = "task has" if len(score.fewer) == 1 else "tasks have"
        yield f"note      {len(score.fewer)} {have} fewer than {count(score.wanted, 'mutant')}: {_name(score.fewer)}"
    yield from _list_survivors(score.survivors, shown)


def _list_survivors(survivors: Sequence[Survivor], shown: int) -> Iterator[str]:
    if not survivors:
        return
    tasks: dict[str, int] = {}
    ranked = []
    for place, survivor in enumerate(survivors):
        tasks[survivor.task_id] = tasks.get(survivor.task_id, 0) + 1
        ranked.append((tasks[survivor.task_id], place))
    listed = [survivors[place] for place in sorted(place for _, place in sorted(ranked)[:shown])]
    where = count(len(tasks), "task")
    yield f"survivors {len(survivors)} in {where}: each is equivalent to its reference, or a gap in the tests"
    for survivor in listed:
        yield make_printable(f"  {survivor.task_id}, mutant {survivor.sample}, {survivor.mutation.describe()}")
    if len(survivors) > len(listed):
        yield f"  and {len(survivors) - len(listed)} more: --json lists all"


def _rate(kills: Kills, level: str) -> str:
    return f"{percent(kills.rate):>8}   {level} {percent(kills.low)} to {percent(kills.high)}"


def _name(task_ids: tuple[str, ...]) -> str:
    more = f" and {len(task_ids) - _NAMES} more" if len(task_ids) > _NAMES else ""
    return make_printable(", ".join(task_ids[:_NAMES])) + more

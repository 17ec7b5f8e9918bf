"""Every console command and every Python block of the README and the docs does what the page says: it ends well.

The blocks of a page run in order in one empty folder. `make` commands are only planned (`make -n`), because they run these
tests themselves. Pages that judge HumanEval or HumanEval+ find a few of its problems in the folder, with samples, and are skipped by
name without the data.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from groundrun.cli.doctor import JAILED, try_rung

pytestmark = [pytest.mark.docs, pytest.mark.exec, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path.relative_to(ROOT) for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
PROBLEMS = 8
PLUS = "evalplus/HumanEvalPlus-v0.1.10-HEAD.jsonl.gz"
RECORDED = "qwen2.5-coder-1.5b-base/evalplus/humaneval/generated.jsonl"


def find_blocks(text: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page that can be run: (language, text)."""
    return [
        (language, body)
        for language, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        if language in ("python", "console")
    ]


RUNNABLE = [page for page in PAGES if find_blocks((ROOT / page).read_text())]


@pytest.fixture(scope="module", autouse=True)
def jailed() -> None:
    """The pages never ask for less isolation than the default."""
    refused = [report.refused for report in (try_rung(rung, None) for rung in JAILED) if not report.available]
    if len(refused) == len(JAILED):
        pytest.skip(f"no jailed rung on this host: {refused[0]}")


@pytest.mark.parametrize("page", RUNNABLE, ids=str)
def test_blocks_run(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """In the order of the page, each with status 0."""
    text = (ROOT / page).read_text()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "100"}
    if "HumanEval.jsonl.gz" in text:
        recorded: Path = request.getfixturevalue("recorded")
        environment["GROUNDRUN_DATA"] = str(recorded)
        rows = take_problems(recorded / "humaneval" / "HumanEval.jsonl.gz", tmp_path / "HumanEval.jsonl.gz")
        write_references(rows, tmp_path / "samples.jsonl")
    if "HumanEvalPlus.jsonl.gz" in text:
        recorded = request.getfixturevalue("recorded")
        rows = take_problems(recorded / PLUS, tmp_path / "HumanEvalPlus.jsonl.gz")
        write_references(rows, tmp_path / "tuned.jsonl")
        take_samples(recorded / RECORDED, {row["task_id"] for row in rows}, tmp_path / "base.jsonl")
    for language, body in find_blocks(text):
        if language == "python":
            run([sys.executable, "-c", body], tmp_path, environment)
            continue
        for line in body.splitlines():
            assert line.startswith("$ "), f"{page}: a console block holds commands only, not {line!r}"
            command = line.removeprefix("$ ")
            if command.startswith("make "):
                run(["make", "-n", *command.split()[1:]], ROOT, environment)
            else:
                run(["bash", "-c", command], tmp_path, environment)


def take_problems(source: Path, target: Path) -> list[dict[str, str]]:
    """The first problems of a benchmark, as a file of their own."""
    with gzip.open(source, "rt") as file:
        rows: list[dict[str, str]] = [json.loads(line) for line, _ in zip(file, range(PROBLEMS), strict=False)]
    with gzip.open(target, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return rows


def write_references(rows: list[dict[str, str]], target: Path) -> None:
    """Samples that solve these problems."""
    samples = [{"task_id": row["task_id"], "completion": row["canonical_solution"]} for row in rows]
    target.write_text("".join(json.dumps(sample) + "\n" for sample in samples))


def take_samples(source: Path, task_ids: set[str], target: Path) -> None:
    """What a real model wrote for these problems."""
    lines = [line for line in source.read_text().splitlines() if json.loads(line)["task_id"] in task_ids]
    assert len(lines) == len(task_ids)
    target.write_text("\n".join(lines) + "\n")


def run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Run one command; fail with everything it said."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"

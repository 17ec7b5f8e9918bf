"""`groundrun completion`: the script that makes a shell complete verbs, options, benchmarks and run folders.

The protocol is click's: the script asks this program again at every TAB, with what was typed in the environment. Here is also what
completes a run folder. bash takes what it is offered as words of a command line, unquoted, so only names without anything special are
offered. Nothing here imports the engine, because a TAB has to be answered at once.
"""

from __future__ import annotations

import re
from pathlib import Path

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

from groundrun.cli.options import common_options, print_json

_RUNS = Path("runs")
_VARIABLE = "_GROUNDRUN_COMPLETE"
_PLAIN = re.compile(r"[\w./+@:=,-]+")
_SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "fish": FishComplete, "zsh": ZshComplete}


def complete_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The run folders below `runs/` that go on as typed, newest first; any folder, by the shell's own completion, where there is none."""
    try:
        found = [(path.stat().st_mtime, str(path.parent)) for path in _RUNS.glob("*/run.json")]
    except OSError:
        found = []
    names = [name for _, name in sorted(found, reverse=True) if _PLAIN.fullmatch(name) and name.startswith(incomplete)]
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="dir")]


@click.command("completion")
@click.argument("shell", type=click.Choice(sorted(_SHELLS)))
@common_options
@click.pass_context
def completion_verb(ctx: click.Context, shell: str, as_json: bool) -> int:
    """Print the script that completes this command line.

    It completes verbs, options, benchmarks and the run folders below runs/. To have it in every bash, put
    'source <(groundrun completion bash)' into ~/.bashrc, and the same with zsh into ~/.zshrc; for fish, put what it prints into
    ~/.config/fish/completions/groundrun.fish.
    """
    script = _SHELLS[shell](ctx.find_root().command, {}, "groundrun", _VARIABLE).source()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script, nl=False)
    return 0

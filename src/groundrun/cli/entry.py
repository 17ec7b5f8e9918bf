"""Where the command line starts: finds the verb, turns its answer or its error into an exit status.

Exit status: 0 yes; 1 the answer is no; 2 usage, bad input, or a host that can't give what was asked; 3 faults of ours;
130 interrupted. Errors are one line on stderr; a traceback is shown only when asked for (`--traceback`, GROUNDRUN_TRACEBACK=1).
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from typing import NoReturn

import click

from groundrun import __version__
from groundrun.errors import GroundrunError

VERBS = ("attack", "bench", "demo", "doctor", "eval", "reproduce", "run", "systems")
OUR_FAULT = 3
INTERRUPTED = 130


class Verbs(click.Group):
    """Imports a verb only when it is called for, so that the others cost nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, sorted."""
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb: the object of its name in the module of its name."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(f"groundrun.cli.{cmd_name}"), f"{cmd_name}_verb")
        return command


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="groundrun", message="%(prog)s %(version)s")
def groundrun() -> None:
    """Run the code that models write, safely and fast, and judge what happened.

    Every verb takes --json, which owns the standard output; progress and errors go to the standard error. Exit status: 0 yes,
    1 the answer is no, 2 usage or bad input, 3 faults of ours, 130 interrupted.
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Carry out one command and leave with its exit status."""
    status = carry_out(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = status or 1
    sys.exit(status)


def carry_out(arguments: list[str]) -> int:
    """Carry out one command, tell its error if it has one, and return the exit status."""
    try:
        status = groundrun.main(args=arguments, prog_name="groundrun", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        hint = (
            f" (groundrun {error.ctx.info_name} --help)"
            if isinstance(error, click.UsageError) and _is_verb(error.ctx) and error.ctx
            else ""
        )
        return _tell(f"{error.format_message().rstrip('.')}{hint}", 2)
    except (click.Abort, KeyboardInterrupt):
        return _tell("interrupted", INTERRUPTED)
    except GroundrunError as error:
        return _tell(str(error), error.exit_code)
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _tell(f"groundrun failed: {type(error).__name__}: {error} (a fault of ours; --traceback shows where)", OUR_FAULT)


def _is_verb(ctx: click.Context | None) -> bool:
    return ctx is not None and ctx.parent is not None


def _tell(message: str, status: int) -> int:
    if os.environ.get("GROUNDRUN_TRACEBACK", "") not in ("", "0") and sys.exc_info()[0] is not None:
        traceback.print_exc()
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return status

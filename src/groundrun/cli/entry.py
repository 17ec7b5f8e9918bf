"""Finds the verb, and turns its answer or its error into an exit status.

Exit status: 0 yes; 1 the answer is no; 2 usage, bad input, or a host that can't give what was asked; 3 faults of ours;
130 interrupted; 141 nobody reads the output any more. Errors are one line on stderr; a traceback is shown only when asked for
(`--traceback`, GROUNDRUN_TRACEBACK=1).
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import click
from click.shell_completion import CompletionItem

from groundrun import __version__
from groundrun.cli.options import tell
from groundrun.cli.start import INTERRUPTED, READER_GONE, ReaderGone
from groundrun.errors import GroundrunError
from groundrun.reports.phrases import make_printable

VERBS = ("attack", "bench", "check", "compare", "completion", "demo", "doctor", "eval", "judge", "report", "reproduce", "run", "systems")
OUR_FAULT = 3


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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs and options that go on as typed; no verb is imported for it."""
        verbs = [CompletionItem(name) for name in self.list_commands(ctx) if name.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="groundrun", message="%(prog)s %(version)s")
def groundrun() -> None:
    """Run the code that models write, safely and fast, and judge what happened.

    Every verb takes --json, which owns the standard output; progress and errors go to the standard error. Exit status: 0 yes,
    1 the answer is no, 2 usage or bad input, 3 faults of ours, 130 interrupted.
    """


def carry_out(arguments: list[str]) -> int:
    """Carry out one command, tell its error if it has one, and return the exit status."""
    try:
        status = groundrun.main(args=arguments, prog_name="groundrun", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f" ({context.command_path} --help)" if context and context.parent else ""
        return _tell(f"{error.format_message().rstrip('.')}{hint}", 2)
    except (click.Abort, KeyboardInterrupt):
        return _tell("interrupted", INTERRUPTED)
    except GroundrunError as error:
        return _tell(str(error), error.exit_code)
    except ReaderGone:
        return READER_GONE
    except Exception as error:
        return _tell(f"groundrun failed: {type(error).__name__}: {error} (a fault of ours; --traceback shows where)", OUR_FAULT)


def _tell(message: str, status: int) -> int:
    if os.environ.get("GROUNDRUN_TRACEBACK", "") not in ("", "0") and sys.exc_info()[0] is not None:
        click.echo(make_printable(traceback.format_exc()), nl=False, err=True)
    tell(f"error: {message}")
    return status

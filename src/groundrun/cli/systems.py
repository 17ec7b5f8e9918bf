"""`groundrun systems`: what of the literature is here."""

from __future__ import annotations

import click

from groundrun.cli.catalogue import SYSTEMS
from groundrun.cli.options import common_options, find_width, print_json
from groundrun.reports.phrases import wrap_line


@click.command("systems")
@common_options
def systems_verb(as_json: bool) -> int:
    """List the systems of the literature that are here.

    Of each: its module, its paper, what is reproduced, and what is not covered.
    """
    if as_json:
        print_json(SYSTEMS)
        return 0
    for system in SYSTEMS:
        click.echo(f"{system.name} ({system.module})")
        for word, text in (("paper", system.paper), ("reproduces", system.reproduces), ("not covered", system.not_covered)):
            if text:
                click.echo(wrap_line(f"  {word:<12}{text}", indent=14, width=find_width()))
    return 0

"""What the commands that adapt take."""

from pathlib import Path
from typing import Any

import click

from scpo_ctrl.usage.given import FILE, NEW_FOLDER, Command, as_json_option, verbose_option, work


@click.command("demo", cls=Command)
@click.option("--out", type=NEW_FOLDER, default=Path("runs/demo"), show_default=True, help="RUN folder to write.")
@verbose_option
@as_json_option
def demo_command(**given: Any) -> int:
    """Run the main job on the double integrator: adapt, verify, report, export C, replay it."""
    return work("adapt:demo", given)


@click.command("adapt", cls=Command)
@click.argument("problem", type=FILE)
@click.option("--out", type=NEW_FOLDER, required=True, help="RUN folder to write.")
@click.option("--steps", type=click.IntRange(0), help="Number of steps, instead of [adapt] steps.")
@click.option("--seed", type=click.IntRange(0), help="Seed of the initial parameters, instead of [adapt] seed.")
@click.option("--resume", is_flag=True, help="Go on from the last complete state in RUN.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in RUN.")
@click.option("--learn", type=FILE, multiple=True, help="Scenario file, as `falsify` writes, whose scenario joins in.")
@verbose_option
@as_json_option
def adapt_command(**given: Any) -> int:
    """Adapt the policy of PROBLEM.toml; every committed policy is safe on its scenarios."""
    if given["resume"] and given["overwrite"]:
        raise click.UsageError("--resume and --overwrite exclude each other", click.get_current_context())
    return work("adapt:adapt_problem", given)

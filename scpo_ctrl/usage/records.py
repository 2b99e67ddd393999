"""What the commands that read records, logs and models take."""

from pathlib import Path
from typing import Any

import click

from scpo_ctrl.choices import CONFIDENCE, MARGIN
from scpo_ctrl.usage.given import (
    FILE,
    FUTURE_RUN,
    NEW_FILE,
    RUN,
    Command,
    as_json_option,
    run_argument,
    work,
    written_run_argument,
)


@click.command("verify", cls=Command)
@run_argument
@click.option("--problem", type=FILE, help="Problem file that RUN is said to be of: check that it is.")
@click.option("--seed", type=click.IntRange(0), help="Seed instead of [adapt] seed of that file, as given to `adapt`.")
@click.option("--trust", is_flag=True, help="Run the Python that that file names, and compare.")
@click.option(
    "--part", "parts", type=click.IntRange(0), multiple=True, help="Of the certificate: roll out all of it again."
)
@as_json_option
def verify_command(problem: Path | None, seed: int | None, trust: bool, **more: Any) -> int:
    """Re-check the record of RUN from its files alone."""
    for given, option in ((seed is not None, "--seed"), (trust, "--trust")):
        if given and problem is None:
            raise click.UsageError(f"{option} goes with --problem", click.get_current_context())
    return work("verify:verify_run", {"problem": problem, "seed": seed, "trust": trust, **more})


@click.command("report", cls=Command)
@written_run_argument
@as_json_option
def report_command(**given: Any) -> int:
    """Write RUN/report.html, self-contained."""
    return work("report:report_run", given)


@click.command("compare", cls=Command)
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, type=RUN)
@click.option("--out", type=NEW_FILE, default=Path("compare.html"), show_default=True, help="The page to be written.")
@as_json_option
def compare_command(runs: tuple[Path, ...], **more: Any) -> int:
    """Write a page with several runs side by side, self-contained."""
    if len(runs) == 1:
        raise click.UsageError(f"only one RUN is given, {runs[0]}; give two or more, or use `scpo-ctrl report`")
    places = [run.resolve() for run in runs]
    twice = next((run for k, run in enumerate(runs) if places[k] in places[:k]), None)
    if twice is not None:
        raise click.UsageError(f"{twice} is given twice; give each RUN once")
    return work("compare:compare_runs", {"runs": runs, **more})


@click.command("identify", cls=Command)
@click.argument("problem", type=FILE)
@click.argument("log", type=FILE)
@click.option("--out", type=NEW_FILE, help="Problem file to write, with what was found; by default none is.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there, PROBLEM itself too.")
@click.option("--parameters", help="Labels of the parameters to fit, separated by commas; by default all.")
@click.option("--horizon", type=click.IntRange(1), default=1, show_default=True, help="Steps predicted at once.")
@click.option("--confidence", type=float, default=CONFIDENCE, show_default=True, help="That ranges hold all of them.")
@click.option("--margin", type=float, default=MARGIN, show_default=True, help="Added to the largest residual.")
@as_json_option
def identify_command(**given: Any) -> int:
    """Fit the plant of PROBLEM.toml to LOG.csv: its parameters, their ranges, and the disturbance.

    LOG.csv has columns x0…, u0… as imitation data has; a column `sample` (numbers) or `t` [s] says where there are
    gaps. Parameters that the log does not tell are named and keep their values. With --out a new problem file is
    written: [plant] nominal, [scenarios] parameters and disturbance are the fitted ones, all else is as it was. Python
    that PROBLEM.toml names is run, as `adapt` does.
    """
    if given["overwrite"] and given["out"] is None:
        raise click.UsageError("--overwrite goes with --out", click.get_current_context())
    return work("identify:identify_plant", given)


@click.command("plants", cls=Command)
@as_json_option
def plants_command(**given: Any) -> int:
    """List the model zoo, one line each."""
    return work("plants:list_plants", given)


@click.command("watch", cls=Command)
@click.argument("run", type=FUTURE_RUN)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="To listen on, of 127.0.0.1; by default a free one."
)
@click.option("--no-open", is_flag=True, help="Do not open a browser.")
@as_json_option
def watch_command(**given: Any) -> int:
    """Show RUN in a browser while it goes on, or before it begins; Ctrl-C ends this, and not the run."""
    return work("watch:watch_run", given)

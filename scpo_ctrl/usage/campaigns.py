"""What the command takes that adapts many problems."""

from typing import Any

import click

from scpo_ctrl.choices import MOST_POINTS, MOST_WORKERS
from scpo_ctrl.usage.given import FILE, NEW_FOLDER, Command, as_json_option, exclude_each_other, work


@click.command("sweep", cls=Command)
@click.argument("sweep", type=FILE)
@click.option("--out", type=NEW_FOLDER, required=True, help="Folder of the campaign; an unfinished one goes on.")
@click.option(
    "--workers", type=click.IntRange(1, MOST_WORKERS), help="Processes on this machine; by default one for each core."
)
@click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers are used, such as tcp://HOST:8786.")
@click.option(
    "--limit", type=click.IntRange(1), default=MOST_POINTS, show_default=True, help="Largest number of points."
)
@as_json_option
def sweep_command(**given: Any) -> int:
    """Adapt the problem of SWEEP.toml at every point of a grid, a list, or random draws.

    Each point becomes a RUN folder below --out, the same to the last bit as `adapt` makes it. A point whose problem
    does not hold is recorded with its reason, and the others go on. The same command once more goes on after whatever
    ended it. Python that the problem names is run, as `adapt` does.
    """
    exclude_each_other(workers=given["workers"], scheduler=given["scheduler"])
    return work("sweep:sweep_problem", given)

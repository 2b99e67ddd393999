"""The command that shows several runs side by side."""

from pathlib import Path

import click

from scpo_ctrl.record.files import load_result
from scpo_ctrl.report.compare import compared, write_compared
from scpo_ctrl.terminal import PATH, as_json_option, print_json, say


@click.command("compare")
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, type=PATH)
@click.option("--out", type=PATH, default=Path("compare.html"), show_default=True, help="The page to be written.")
@as_json_option
def compare_command(runs: tuple[Path, ...], out: Path, as_json: bool) -> int:
    """Write a page with several runs side by side, self-contained."""
    if len(runs) == 1:
        raise click.UsageError(f"only one RUN is given, {runs[0]}; give two or more, or use `scpo-ctrl report`")
    places = [run.resolve() for run in runs]
    twice = next((run for k, run in enumerate(runs) if places[k] in places[:k]), None)
    if twice is not None:
        raise click.UsageError(f"{twice} is given twice; give each RUN once")
    found = [compared(name, load_result(run)) for name, run in zip(_names(runs), runs, strict=True)]
    write_compared(found, out)
    if as_json:
        print_json(
            {
                "compare": str(out),
                "runs": {str(run): one.result.summary() for run, one in zip(runs, found, strict=True)},
            }
        )
    else:
        say(str(out))
    return 0


def _names(runs: tuple[Path, ...]) -> list[str]:
    """Return the names of the folders, or their whole paths where two have the same name."""
    names = [run.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]

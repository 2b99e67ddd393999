"""The command that shows several runs side by side."""

from pathlib import Path

from scpo_ctrl.record.files import load_result
from scpo_ctrl.report.compare import compared, write_compared
from scpo_ctrl.terminal import print_json, say


def compare_runs(runs: tuple[Path, ...], out: Path, as_json: bool) -> int:
    """Write a page with several runs side by side, self-contained."""
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

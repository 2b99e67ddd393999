"""The command that re-checks a run."""

from dataclasses import asdict
from pathlib import Path

import click

from scpo_ctrl.rounding import down
from scpo_ctrl.terminal import PATH, as_json_option, failed, print_json, run_argument, say, verdict
from scpo_ctrl.verification.verify import verify

_SHOWN = 3  # faults named in one line


@click.command("verify")
@run_argument
@click.option("--problem", type=PATH, help="Problem file that RUN is said to be of: check that it is.")
@click.option("--seed", type=click.IntRange(0), help="Seed instead of [adapt] seed of that file, as given to `adapt`.")
@click.option("--trust", is_flag=True, help="Run the Python that that file names, and compare.")
@as_json_option
def verify_command(run: Path, problem: Path | None, seed: int | None, trust: bool, as_json: bool) -> int:
    """Re-check the record of RUN from its files alone."""
    for given, option in ((seed is not None, "--seed"), (trust, "--trust")):
        if given and problem is None:
            raise click.UsageError(f"{option} goes with --problem", click.get_current_context())
    checked = verify(run, problem=problem, seed=seed, trust=trust)
    if as_json:
        print_json({"passed": checked.passed, **asdict(checked)})
    else:
        say(f"{run}: {checked.policies} committed policies, {checked.scenarios} scenarios, {checked.metrics} metrics")
        say(f"worst margin {down(checked.worst_margin)}, violations {checked.violations}: {verdict(checked.passed)}")
        if checked.backup:
            say(f"backup: {checked.backup}")
    if not checked.passed:
        more = f"; and {len(checked.faults) - _SHOWN} more (see --json)" if len(checked.faults) > _SHOWN else ""
        return failed(f"{run}: {'; '.join(checked.faults[:_SHOWN])}{more}", 1)
    return 0

"""The command that re-checks a run."""

from dataclasses import asdict
from pathlib import Path

from scpo_ctrl.rounding import down
from scpo_ctrl.terminal import failed, print_json, say, verdict
from scpo_ctrl.verification.verify import verify

_SHOWN = 3  # faults named in one line


def verify_run(
    run: Path, problem: Path | None, seed: int | None, trust: bool, parts: tuple[int, ...], as_json: bool
) -> int:
    """Re-check the record of RUN from its files alone."""
    checked = verify(run, problem=problem, seed=seed, trust=trust, parts=parts)
    if as_json:
        print_json({"passed": checked.passed, **asdict(checked)})
    else:
        policies = f"{checked.policies} committed {'policy' if checked.policies == 1 else 'policies'}"
        say(f"{run}: {policies}, {checked.scenarios} scenarios, {checked.metrics} metrics")
        say(f"worst margin {down(checked.worst_margin)}, violations {checked.violations}: {verdict(checked.passed)}")
        if checked.backup:
            say(f"backup: {checked.backup}")
        if checked.certificate:
            say(f"certificate of the final policy: {checked.certificate}")
    if not checked.passed:
        more = f"; and {len(checked.faults) - _SHOWN} more (see --json)" if len(checked.faults) > _SHOWN else ""
        return failed(f"{run}: {'; '.join(checked.faults[:_SHOWN])}{more}", 1)
    return 0

"""The seven jobs of docs/jobs.md: adapted, verified from their files, exported as C, replayed on two machines.

Plants, controllers, references and constraints are read out of that page. Each job is adapted with audits and saved
as a RUN folder, which is verified from its files alone (`scpo-ctrl report` draws it); its C is replayed on this
computer and on an emulated Cortex-M4F.

    python examples/jobs.py [--only NAME] [--out DIR]

The cost is that of 20 000 fresh scenarios of the declared set, which no run has seen, and "violate" how many of them
break a metric after adaptation. Rise time (10 to 90 %), overshoot and settling time (to 2 %) are of the largest step or
ramp of the reference among the scenarios, as in the report. Bytes are what a program that calls a step links at -Os,
instructions those of a step at -O2, in float.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.common import FRESH_SEED, number, numbers, print_table
from support.device import OnDevice, missing, run_on_device

import scpo_ctrl as sc
from scpo_ctrl.assurance import Fresh
from scpo_ctrl.codegen import export, replay
from scpo_ctrl.record.config import read_problem_file
from scpo_ctrl.report.response import responses

PAGE = Path(__file__).parents[1] / "docs" / "jobs.md"
FRESH = 20_000

# --- Jobs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A job of the page."""

    name: str  # as a file can have it
    language: str  # "toml" or "python"
    text: str


def jobs() -> list[Job]:
    """Return the jobs of the page: each heading with the block of code below it."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```(toml|python)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [Job(re.sub(r"\W+", "_", title).strip("_").lower(), *block) for title, *block in found]


def adapted(job: Job, folder: Path) -> sc.Result:
    """Adapt a job, as its file or its lines of Python say."""
    if job.language == "python":
        made: dict[str, Any] = {}
        exec(compile(job.text, job.name, "exec"), made)
        result = made["result"]
    else:
        path = folder / f"{job.name}.toml"
        path.write_text(job.text, encoding="utf-8")
        read = read_problem_file(path)
        result = sc.adapt(read.problem, read.options)
    assert isinstance(result, sc.Result)
    return result


# --- A run -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What came out of a job."""

    name: str
    result: sc.Result
    fresh: tuple[Fresh, Fresh]  # before, after
    device: OnDevice | None  # none without the tools
    seconds: float  # of adaptation


def started(command: str, folder: Path) -> subprocess.Popen[str]:
    """Start a command of scpo-ctrl on a RUN folder, as another process."""
    asked = [sys.executable, "-m", "scpo_ctrl", command, str(folder)]
    return subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(job: Job, out: Path, fresh: int = FRESH) -> Outcome:
    """Adapt a job, save and verify it, and run its C."""
    folder = out / job.name
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    result = adapted(job, folder)
    seconds = time.perf_counter() - began
    problem = result.problem
    assert isinstance(problem, sc.ControlProblem) and isinstance(problem.policy, sc.ControllerPolicy)
    sc.save_result(result, folder / "run", overwrite=True)
    verifying = started("verify", folder / "run")
    before, after = (Fresh.drawn(problem, t, 0, fresh, FRESH_SEED) for t in (result.theta_initial, result.theta))
    source = export(result, folder / "c", target="cortex-m4f", measured=False).path
    replayed, device = replay(source), None
    if not missing():
        with tempfile.TemporaryDirectory() as work:
            device = run_on_device(problem.policy, source, Path(work))
    said, _ = verifying.communicate()
    if verifying.returncode:
        raise RuntimeError(f"{folder / 'run'} does not verify: {said}")
    print(f"{job.name}: verified; {replayed}", flush=True)
    return Outcome(job.name, result, (before, after), device, seconds)


# --- What came out ---------------------------------------------------------------------------------------------------

HEADER = ["job", "cost", "violate", "rise [s]", "overshoot [%]", "settling [s]", "run [s]", "bytes", "instructions"]


def row(outcome: Outcome) -> list[str]:
    """Return a line of the table."""
    (before, after), device = outcome.fresh, outcome.device
    found = responses(outcome.result)
    answer = ["-"] * 3
    if found:
        rise, overshoot, settling = zip(*found[0].info, strict=True)
        parts = (map(number, rise), (f"{value:.0f}" for value in overshoot), map(number, settling))
        answer = [" -> ".join(part) for part in parts]
    return [
        outcome.name,
        f"{before.objective:.3g} -> {after.objective:.3g}",
        f"{after.violations} of {after.worst.size}",
        *answer,
        f"{outcome.seconds:.0f}",
        str(device.code) if device else "-",
        f"{device.instructions:.0f}" if device else "-",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    found = {job.name: job for job in jobs()}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[*found], help="one of the jobs")
    parser.add_argument("--out", type=Path, default=Path("runs/jobs"), help="where RUN folders and C go")
    given = parser.parse_args(arguments)
    if missing():
        print(f"without emulation: {', '.join(missing())} not found; apt-get install gcc-arm-none-eabi qemu-system-arm")
    outcomes = [run(job, given.out) for job in found.values() if given.only in (None, job.name)]
    print()
    print_table(
        [*HEADER, "numbers"], [[*row(outcome), numbers(outcome.result, 3, units=False)] for outcome in outcomes]
    )


if __name__ == "__main__":
    main()

"""The commands that adapt a policy."""

from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import click

from scpo_ctrl.adaptation.adapt import adapt
from scpo_ctrl.adaptation.display import Display
from scpo_ctrl.adaptation.result import Result
from scpo_ctrl.adaptation.state import State
from scpo_ctrl.adaptation.status import RunStatus
from scpo_ctrl.compiled import find_compiler
from scpo_ctrl.errors import OutputError, RecordError, ScpoError
from scpo_ctrl.places import is_run
from scpo_ctrl.reading import read_text
from scpo_ctrl.record import toml
from scpo_ctrl.record.config import ProblemFile, read_problem_file
from scpo_ctrl.record.folder import RunFolder, check_free, is_unfinished
from scpo_ctrl.record.saving import Saving
from scpo_ctrl.record.scenario_file import with_learned
from scpo_ctrl.report.reach import reach_lines
from scpo_ctrl.report.wording import audited, beyond, gains, optimality, stability
from scpo_ctrl.rounding import down
from scpo_ctrl.stop import Stop
from scpo_ctrl.terminal import print_json, say, verdict
from scpo_ctrl.verification.verify import verify

_FAILED = (RunStatus.INTERRUPTED, RunStatus.SMOOTHNESS_TOO_SMALL)


def demo(out: Path, verbose: bool, as_json: bool) -> int:
    """Adapt, verify, report, export and replay the double integrator."""
    from scpo_ctrl.codegen import export
    from scpo_ctrl.codegen.build import replay

    _resumable()
    with as_file(files("scpo_ctrl") / "data" / "double_integrator.toml") as path:
        file = read_problem_file(path)
    with RunFolder(out, file, overwrite=lambda path: _is_demo(path, file)) as folder:
        result = _adapt("the demo", folder, None, as_json, verbose)
    if result.status in _FAILED:
        return _finish(result, out, as_json)
    checked = verify(out)
    exported = export(result, out / "c", target="host", real="double")
    replayed = replay(exported.path) if find_compiler() else "not replayed: no C compiler found (set CC or install one)"
    if not as_json:
        say(f"verified   {checked.policies} policies on {checked.scenarios} scenarios: {verdict(checked.passed)}")
        say(f"C          {exported.path}: {replayed.strip().splitlines()[-1]}")
    return _finish(result, out, as_json, extra={"verified": checked.passed, "replayed": replayed}, ok=checked.passed)


def adapt_problem(
    problem: Path,
    out: Path,
    steps: int | None,
    seed: int | None,
    resume: bool,
    overwrite: bool,
    learn: tuple[Path, ...],
    verbose: bool,
    as_json: bool,
) -> int:
    """Adapt the policy of a problem file, and save the run."""
    _resumable()
    goes_on = resume and is_run(out)  # else an earlier process may have ended within its first save
    replaces = goes_on or (is_unfinished if resume else overwrite)
    check_free(out, replaces)  # before the problem is read, whose backup may take long
    file = read_problem_file(problem, steps=steps, seed=seed, trust=True)
    if learn:
        file = with_learned(file, learn)
    folder, earlier = RunFolder.resumed(out, file) if goes_on else (RunFolder(out, file, overwrite=replaces), None)
    with folder:
        result = _adapt(str(problem), folder, earlier, as_json, verbose)
    return _finish(result, out, as_json)


def _is_demo(out: Path, file: ProblemFile) -> bool:
    """Whether an earlier demo, and not another run, even of the same plant, is in the folder."""
    try:
        earlier = toml.loads(read_text(out / "problem.toml"))
    except (OSError, ValueError):
        return False
    return bool(earlier == toml.loads(file.text()))


def _stop() -> Stop:
    return click.get_current_context().ensure_object(Stop)


def _resumable() -> None:
    """Say what an interruption leaves of a run."""
    _stop().remedy = "`--resume` goes on from the last complete state, if one was saved"


def _adapt(name: str, folder: RunFolder, earlier: Result | None, quiet: bool, verbose: bool) -> Result:
    """Adapt with a progress display, saving the state at once and then now and then; write the report at the end."""
    from scpo_ctrl.report.page import write_report

    saving, step = Saving(folder), 0 if earlier is None else earlier.steps
    stop, options = _stop(), folder.file.options
    heading = f"method {options.method}, gradients {options.gradients}"
    with stop.steps(), Display(options.steps, shown=not quiet, verbose=verbose, heading=heading) as display:

        def monitor(state: State) -> bool:
            nonlocal step
            step = state.step
            stop.wait()  # before anybody can see that something was saved
            saving.save(state)
            display.show(state)
            return stop.asked()

        def audit_monitor(done: int, total: int) -> bool:
            display.show_audit(step, done, total)
            return stop.asked()

        try:
            result = adapt(
                folder.file.problem, options, resume_from=earlier, monitor=monitor, audit_monitor=audit_monitor,
                progress=False,
            )  # fmt: skip
        except OutputError:
            raise
        except ScpoError as error:
            raise type(error)(f"{folder.path if isinstance(error, RecordError) else name}: {error}") from error
        folder.save(result)
    write_report(result, folder.path / "report.html")
    return result


def _finish(result: Result, out: Path, as_json: bool, *, extra: dict[str, Any] | None = None, ok: bool = True) -> int:
    summary = result.summary() | {"run": str(out)} | (extra or {})
    if as_json:
        print_json(summary)
    else:
        say(f"status     {summary['status']}: {result.advice()}")
        for line in [*(f"note       {n}" for n in result.notes()), *gains(result), *reach_lines(result)]:
            say(line)
        say(f"objective  {result.objective_initial:.4g} -> {result.objective_final:.4g}")
        if reached := optimality(result, lambda value: f"{value:.2g}"):
            say(f"optimality {reached}")
        given_up = ", withdrawn after audits {withdrawn}" if summary["withdrawn"] else ""
        say(f"tries      accepted {{accepted}}, rejected {{rejected}}{given_up}, in {{steps}} steps".format(**summary))
        kept = f"{summary['violations']} violations, worst margin {down(summary['worst_margin'])}"
        say(f"safety     on its scenarios: {kept} of all committed policies")
        if found := stability(result, lambda value: f"{value:.4g}"):
            say(f"stability  {found}")
        if look := audited(result):
            say(f"audit      {look.sentence.removeprefix('audited: ')}")
        elif look := beyond(result):
            say(f"beside     {look.sentence}; the run was not audited")
        say(f"results    {out}/ (report.html, result.json, history.npz)")
    return 1 if result.status in _FAILED or summary["violations"] or not ok else 0

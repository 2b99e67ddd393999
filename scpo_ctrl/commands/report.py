"""The command that writes a run's page."""

from pathlib import Path

from scpo_ctrl.record.assurance import load_guarded
from scpo_ctrl.record.atomic import stamps
from scpo_ctrl.record.files import load_result
from scpo_ctrl.terminal import print_json, say

_TRIES = 5  # before another process saves once more


def report_run(run: Path, as_json: bool) -> int:
    """Write RUN/report.html, self-contained."""
    from scpo_ctrl.report.page import write_report  # a door of tests, which write pages without pictures

    for _ in range(_TRIES):  # of the last state, though another process may be saving later ones
        before = stamps(run)
        write_report(result := load_result(run), run / "report.html", load_guarded(run, result))
        if before == stamps(run):
            break
    if as_json:
        print_json({"report": str(run / "report.html")})
    else:
        say(str(run / "report.html"))
    return 0

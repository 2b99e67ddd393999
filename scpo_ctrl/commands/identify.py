"""The command that makes a model of a log."""

from pathlib import Path

from scpo_ctrl.identification import Identification, identify
from scpo_ctrl.record.config import located
from scpo_ctrl.record.identified import check_place, read_plant_of, write_identified
from scpo_ctrl.record.log_file import read_log
from scpo_ctrl.report.labels import labelled
from scpo_ctrl.terminal import print_json, say


def identify_plant(
    problem: Path,
    log: Path,
    out: Path | None,
    overwrite: bool,
    parameters: str | None,
    horizon: int,
    confidence: float,
    margin: float,
    as_json: bool,
) -> int:
    """Fit the plant of a problem file to a log."""
    plant, tables = read_plant_of(problem, trust=True)
    if out is not None:
        check_place(problem, tables, out, overwrite=overwrite)
    rows = read_log(log, plant)
    names = None if parameters is None else [name.strip() for name in parameters.split(",")]
    with located(f"{log}: "):
        found = identify(
            plant, rows.x, rows.u, sample=rows.sample, time=rows.time, parameters=names, horizon=horizon,
            confidence=confidence, margin=margin,
        )  # fmt: skip
    if out is not None:
        write_identified(out, tables, found)
    if as_json:
        print_json(found.summary() | {"written": None if out is None else str(out)})
    else:
        for line in (*_parameter_lines(found), "", *_disturbance_lines(found), "", *_word_lines(found)):
            say(line)
        if out is not None:
            say(f"written: {out}; `scpo-ctrl adapt` says whether its backup and level hold for these")
    return 0


def _parameter_lines(found: Identification) -> list[str]:
    """Return the table of the parameters."""
    plant, ranges = found.plant, found.parameters()
    rows: list[tuple[str, ...]] = [("parameter", "nominal", "fitted", "range", "identifiable")]
    for label in found.asked:
        i = plant.p_labels.index(label)
        nominal, name = f"{plant.p_nominal[i]:.6g}", labelled(label, plant.p_units[i], " ")
        if label in ranges:
            low, high = ranges[label]
            rows.append((name, nominal, f"{found.value(label):.6g}", f"{low:.6g} … {high:.6g}", "yes"))
        else:
            rows.append((name, nominal, "kept", "", f"no: {found.kept[label]}"))
    return _aligned(rows)


def _disturbance_lines(found: Identification) -> list[str]:
    """Return the table of the disturbance."""
    columns = found.plant.x_labels, found.plant.x_units, found.half_widths, found.largest, found.rms
    rows: list[tuple[str, ...]] = [("disturbance", "half width", "largest residual", "rms residual")]
    rows += [
        (labelled(label, unit, " "), *(f"{value:.4g}" for value in values))
        for label, unit, *values in zip(*columns, strict=True)
    ]
    return _aligned(rows)


def _word_lines(found: Identification) -> list[str]:
    """Return what was done, assumed and doubted."""
    by = "one step" if found.horizon == 1 else f"{found.horizon} steps from each measured state"
    return [
        f"{found.transitions} transitions in {found.pieces} pieces without a gap, predicted by {by}",
        f"ranges hold all fitted parameters together at confidence {found.confidence:g}; half widths are the largest "
        f"residuals and {found.margin:.0%}; at most {found.beyond:.2%} of fresh residuals are beyond the largest, at "
        "the same confidence",
        found.assumed,
        *(f"doubt: {text}" for text in found.doubts),
    ]


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows as lines, their columns one below the other."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip() for row in rows]

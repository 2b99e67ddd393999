"""The examples: their numbers, what they print, and the figures that they write."""

import functools
import itertools
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import python_against_c
import r1_regression
import r2_malicious_expert
import r3_double_integrator
import reference_problems
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = [r1_regression, r2_malicious_expert, r3_double_integrator]
LARGEST_FIGURE = 150_000  # bytes


def assert_picture(path):
    """A PNG with content: of a plausible size, and more than a few colours in many places."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width >= 1000 and image.height >= 500
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    assert len(colours) >= 50
    assert 0.05 < 1 - counts.max() / counts.sum() < 0.95
    assert path.stat().st_size < LARGEST_FIGURE


def numpy_network(theta, x):
    """R1's network, without CasADi."""
    a, start = x[None], 0
    for layer, (last, width) in enumerate(itertools.pairwise(r1_regression.WIDTHS)):
        W = theta[start : start + width * last].reshape(last, width).T
        b = theta[start + width * last : start + width * (last + 1)]
        a = W @ a + b[:, None]
        a = np.tanh(a) if layer < len(r1_regression.WIDTHS) - 2 else a
        start += width * (last + 1)
    return a[0]


def test_r1_data():
    data = r1_regression.make_data()
    clean = ~data.harmful
    assert data.harmful.sum() == 60 and (data.x[data.harmful] > 0).all() and (data.y[data.harmful] == 3).all()
    assert np.std(data.y[clean] - 1.5 * np.sin(data.x[clean])) == pytest.approx(0.05, rel=0.3)
    assert not r1_regression.make_data(fraction=0.0).harmful.any()


def test_r1_stays_in_bounds_and_learns_the_clean_half(tmp_path):
    outcome = r1_regression.run(steps=20)
    committed, grid = outcome.result.committed, np.linspace(-3, 3, 61)
    f = np.array([numpy_network(theta, grid) for theta in committed])
    assert len(f) > 15 and (f[0] == 0).all()
    assert f.max() <= 1 + 1e-12 and f.min() >= -1.2 - 1e-12  # rounding of another order of summation
    assert (outcome.result.problem.metrics(committed) <= 0).all()
    target = np.clip(1.5 * np.sin(grid), -1.2, 1)
    error = np.mean((f - target)[:, grid <= 0] ** 2, axis=1)
    np.testing.assert_allclose(error, outcome.clean_error, rtol=1e-6)
    assert error[-1] <= error[0] / 10
    free = numpy_network(outcome.unconstrained.theta, grid)
    assert free.max() > 2  # what the harmful targets ask for
    r1_regression.save(r1_regression.draw(outcome), tmp_path / "r1.png", [])
    assert_picture(tmp_path / "r1.png")


def test_r2_expert():
    problem, data = r2_malicious_expert.make_problem()
    assert data.x.shape == (400, 2) and (np.abs(data.u) <= 1).all()
    assert (problem.backup.level(data.x) <= 0.9 * problem.backup.rho).all()
    mirrored = r2_malicious_expert.make_expert(problem, -data.x)  # an LQR is odd; the negation makes it even
    np.testing.assert_allclose(mirrored, data.u, atol=1e-12)


@pytest.mark.long
def test_r2_follows_the_good_half_and_holds_the_malicious_one_back(tmp_path):
    outcome = r2_malicious_expert.run(steps=150)
    problem = outcome.result.problem
    assert (problem.metrics(outcome.result.committed) <= 0).all()
    assert outcome.good[-1] <= 0.2 * outcome.good[0]
    assert outcome.malicious[-1] > 0.4 * outcome.malicious[0]
    assert outcome.malicious[-1] > 10 * outcome.malicious_unconstrained[-1]
    assert problem.metrics(outcome.unconstrained.theta).max() > 1  # what plain imitation does
    r2_malicious_expert.save(r2_malicious_expert.draw(outcome), tmp_path / "r2.png", [])
    assert_picture(tmp_path / "r2.png")


@pytest.mark.long
def test_r3_reaches_the_objective_safely(tmp_path):
    outcome = r3_double_integrator.run(steps=150)
    result = outcome.result
    assert (result.problem.metrics(result.committed) <= 0).all()
    assert outcome.objective[0] == pytest.approx(2.396, abs=1e-3)
    history = result.history.columns()
    early = history["committed"] & (history["step"] < 100)
    assert history["objective"][early].min() <= 1.33
    assert outcome.objective[-1] == result.problem.objective(result.theta) <= 1.28
    assert 0.96 <= r3_double_integrator.share(result.problem, result.theta) <= 1
    audited = outcome.audited
    assert audited.final_audit is not None and audited.final_audit.passed
    assert (result.problem.metrics(audited.committed) <= 0).all() and audited.objective_final <= 1.3
    r3_double_integrator.save(r3_double_integrator.draw(outcome), tmp_path / "r3.png", [])
    assert_picture(tmp_path / "r3.png")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda module: module.__name__)
def test_scripts_print_a_table_and_write_their_figure(example, tmp_path, capsys):
    figure = tmp_path / "new" / "figure.png"
    example.main(["--steps", "3", "--figure", str(figure)])
    printed = capsys.readouterr().out
    assert re.search(r"violations, of committed \w+ +0 of 4", printed)
    assert printed.endswith(f"figure: {figure}\n")
    assert_picture(figure)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda module: module.__name__)
def test_scripts_have_headed_sections(example):
    text = Path(example.__file__).read_text(encoding="utf-8")
    positions = [text.index(f"# --- {heading} ---") for heading in ("Problem", "Adaptation", "What came out")]
    assert positions == sorted(positions)


@pytest.mark.parametrize("name", ["r1_regression", "r2_malicious_expert", "phase_portrait"])
def test_committed_figures(name):
    assert_picture(ROOT / "docs" / "figures" / f"{name}.png")


def code_of(script):
    """What follows the docstring."""
    return script.read_text(encoding="utf-8").split('"""', 2)[2].strip()


def test_ten_lines_are_ten():
    lines = [line for line in code_of(ROOT / "examples" / "ten_lines.py").splitlines() if line.strip()]
    assert len([line for line in lines if not line.startswith(("import", "from", "print"))]) <= 10


def test_ten_lines_print_what_the_readme_says(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("scpo_ctrl.adaptation.guards.OF_MODEL", 100_000)  # as users have it
    script = ROOT / "examples" / "ten_lines.py"
    runpy.run_path(str(script))
    code, printed = code_of(script), capsys.readouterr().out
    assert (tmp_path / "runs" / "controller" / "include" / "scpo.h").exists()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    first = code.splitlines()[0]
    at = [k for k, (kind, text) in enumerate(blocks) if kind == "python" and text.startswith(first)]
    assert len(at) == 1, f"README.md needs one python block that begins with: {first}"
    assert blocks[at[0]][1].strip() == code
    assert blocks[at[0] + 1][1].strip() == printed.strip()


def test_python_against_c(capsys, monkeypatch):
    monkeypatch.setattr(python_against_c, "STATES", 1000)
    monkeypatch.setattr(python_against_c, "PROJECTIONS", 60)
    monkeypatch.setattr(python_against_c, "STEPS", 3)
    python_against_c.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert [row[0] for row in rows] == ["double", "float"]
    for (_, error, limit, gap, constraint), largest_gap in zip(rows, (1e-6, 1e-3), strict=True):
        assert float(error) <= float(limit)
        assert float(gap) <= largest_gap
        assert float(constraint) <= 0


def test_reference_problems(capsys, monkeypatch):
    for example in EXAMPLES:
        monkeypatch.setattr(example, "run", functools.partial(example.run, steps=2))
    reference_problems.main()
    assert re.search(r"violations, of committed policies( +0 of 3){3}$", capsys.readouterr().out, re.MULTILINE)

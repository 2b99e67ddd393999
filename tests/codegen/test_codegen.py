import dataclasses
import errno
import html
import json
import shutil
from pathlib import Path

import casadi as ca
import jinja2
import numpy as np
import problems
import pytest
from exports import SHAPES, contents, result_of

import scpo_ctrl
from scpo_ctrl.codegen import export
from scpo_ctrl.codegen.context import make_context
from scpo_ctrl.codegen.export import _environment
from scpo_ctrl.errors import DomainError, OutputError
from scpo_ctrl.models import linear
from scpo_ctrl.report.numbers import number
from scpo_ctrl.report.page import render_report
from scpo_ctrl.report.wording import capital, headline, stability

FILES = {
    "CMakeLists.txt",
    "LICENSE",
    "Makefile",
    "README.md",
    "include/scpo.h",
    "include/scpo_config.h",
    "src/scpo_control.c",
    "src/scpo_data.c",
    "src/scpo_project.c",
    "test/test_scpo.c",
    "test/vectors.c",
    "test/vectors.h",
}


@pytest.fixture
def result():
    return result_of("mlp_2_1")


def test_files(result, tmp_path):
    done = export(result, tmp_path / "c", measured=False)
    assert set(done.files) >= FILES
    assert set(done.files) == set(contents(tmp_path / "c"))
    assert list(tmp_path.iterdir()) == [tmp_path / "c"]
    assert json.loads(json.dumps(done.summary()))["prefix"] == "scpo"
    assert "MIT License" in (tmp_path / "c" / "LICENSE").read_text()


def test_licence_is_the_packages_own():
    template = Path(_environment("double").loader.searchpath[0]) / "LICENSE.jinja"
    assert template.read_text() == (Path(__file__).parents[2] / "LICENSE").read_text()


def test_equal_runs_give_equal_bytes(tmp_path):
    options = scpo_ctrl.AdaptOptions(steps=3)
    for name in ("a", "b"):
        run = scpo_ctrl.adapt(SHAPES["mlp_3_2"](), options)
        export(run, tmp_path / name, target="cortex-m4f")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_hash_tells_runs_apart(result, tmp_path):
    hashes = {
        make_context(run, target, real, "scpo").input_hash
        for run, target, real in (
            (result, "host", "double"),
            (result, "host", "float"),
            (result, "cortex-m7", "double"),
            (result_of("linear_1_1"), "host", "double"),
        )
    }
    assert len(hashes) == 4
    export(result, tmp_path / "c", measured=False)
    header = (tmp_path / "c" / "include" / "scpo_config.h").read_text()
    assert make_context(result, "host", None, "scpo").input_hash in header
    assert scpo_ctrl.__version__ in header.splitlines()[0]


def test_default_real(result):
    reals = {name: make_context(result, name, None, "scpo").real for name in ("host", "cortex-m3", "cortex-m7")}
    assert reals == {"host": "double", "cortex-m3": "float", "cortex-m7": "double"}


def test_sizes_come_from_the_run():
    run = scpo_ctrl.adapt(problems.double_integrator_problem(), scpo_ctrl.AdaptOptions(steps=1, directions=5))
    assert make_context(run, "host", None, "scpo").max_dim == 5
    assert make_context(result_of("mlp_2_1"), "host", None, "scpo").max_dim == 16
    assert 8 <= make_context(run, "host", None, "scpo").max_active <= 32


def test_bounds_round_inwards():
    run = result_of("linear_4_2")
    context, plant = make_context(run, "cortex-m4f", None, "scpo"), run.problem.plant
    assert (context.u_min >= plant.u_min).all() and (context.u_max <= plant.u_max).all()
    assert (context.u_min > plant.u_min).any() and (context.u_max < plant.u_max).any()
    np.testing.assert_allclose(context.u_max, plant.u_max, rtol=2e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "z80"}, "target is 'z80', expected one of: host, cortex-m0plus, cortex-m3"),
        ({"real": "half"}, "real is 'half', expected one of: float, double"),
        ({"prefix": "Scpo"}, "prefix 'Scpo' cannot"),
        ({"prefix": "2x"}, "prefix '2x' cannot"),
        ({"prefix": "a__b"}, "single"),
        ({"prefix": ""}, "prefix '' cannot"),
        ({"prefix": "math"}, "not the name of a C library header"),
        ({"prefix": 7}, "prefix 7 cannot"),
    ],
)
def test_wrong_options(result, options, message, tmp_path):
    with pytest.raises(DomainError, match=message):
        export(result, tmp_path / "c", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"target": "z80"}, {"target": ["host"]}, {"real": "half"}, {"prefix": "sched"}])
def test_options_are_checked_before_anything_else(options, tmp_path):
    """Not even the run is looked at."""
    with pytest.raises(DomainError, match=r"z80|host|half|sched"):
        export(None, tmp_path / "c", **options)


def test_a_run_without_a_plant(tmp_path):
    theta = ca.SX.sym("theta", 1)
    problem = scpo_ctrl.FunctionProblem.from_casadi(theta, ca.sumsqr(theta - 1), theta - 0.5, [0.0])
    with pytest.raises(DomainError, match="without a plant"):
        export(scpo_ctrl.adapt(problem, scpo_ctrl.AdaptOptions(steps=1)), tmp_path / "c")


def test_numbers_that_do_not_fit_float(tmp_path):
    narrow = linear([[0.9]], [[0.5]], 0.1, ([-2.0], [2.0], [-1e-46], [1e-46]))
    cases = {
        "bounds of": problems.control_problem(narrow),
        "scale": problems.scalar_problem(scale=(1e-40,)),
    }
    for message, problem in cases.items():
        run = scpo_ctrl.adapt(problem, scpo_ctrl.AdaptOptions(steps=0))
        with pytest.raises(DomainError, match=message):
            export(run, tmp_path / "c", real="float")
        export(run, tmp_path / message, real="double", measured=False)
    assert not (tmp_path / "c").exists()


def test_a_lost_margin_is_said(tmp_path):
    run = result_of("linear_1_1")  # on its bound to 1e-11: rounding θ to float crosses it
    done = export(run, tmp_path / "c", real="float", measured=False)
    assert done.margin == pytest.approx(-run.everywhere.metrics(run.theta).max(), abs=1e-6)
    readme = (tmp_path / "c" / "README.md").read_text()
    assert ("took the margin" in readme) == (done.margin < 0)


def claims(run, folder):
    """Return what the export's README says, its lines joined, and what the export says in one word."""
    done = export(run, folder, measured=False)
    return " ".join((folder / "README.md").read_text().split()), done.claim


def test_the_readme_says_what_was_shown_as_the_report_does(tmp_path):
    problem = problems.double_integrator_problem()
    few = {"steps": 6, "guards": 4, "audit_rollouts": 500}
    audited = scpo_ctrl.adapt(problem, scpo_ctrl.AdaptOptions(**few))
    plain = scpo_ctrl.adapt(problem, scpo_ctrl.AdaptOptions(steps=6, audit=False))
    dearer = dataclasses.replace(audited, theta=audited.theta_initial, theta_initial=audited.theta)
    words = {}
    for name, run in {"audited": audited, "plain": plain, "dearer": dearer}.items():
        readme, claim = claims(run, tmp_path / name)
        said = headline(run, run.margin())
        page = html.unescape(render_report(run, pictures=False))
        assert claim == said.word and claim in page
        assert f"on the model, in double: **{said.word}**. " in readme
        assert " ".join(said.sentence.split()) in readme
        assert f"{capital(stability(run, number))}." in readme
        assert ("The final policy was not audited." in readme) == (run.final_audit is None)
        assert ("and its guards" in readme) == (run.guards is not None)
        words[name] = claim
    assert words["audited"].startswith("Audited") and "no violation in 500" in claims(audited, tmp_path / "a")[0]
    assert words["plain"].endswith("not audited") or "not beside them" in words["plain"]
    assert words["dearer"] == "Audited, costs more than the safe start"


def test_an_unsafe_run_is_exported_as_unsafe(tmp_path):
    run = scpo_ctrl.adapt(problems.double_integrator_problem(), scpo_ctrl.AdaptOptions(steps=2, audit=False))
    broken = dataclasses.replace(run, theta=1e3 * np.random.default_rng(1).normal(size=run.theta.size))
    assert broken.margin() < 0
    readme, claim = claims(broken, tmp_path / "c")
    assert claim == "Unsafe" and "**Unsafe**" in readme
    assert "took the margin" in readme and "are safe on" not in readme


def test_labels_cannot_break_the_code(tmp_path):
    from exports import STRICT, run

    label = 'x */ #error "a\\\n | ??/ /* `é'
    plant = linear([[0.9]], [[0.5]], 0.1, ([-2.0], [2.0], [-1.0], [1.0]), name=label, u_labels=[label], u_units=[label])
    export(scpo_ctrl.adapt(problems.control_problem(plant), scpo_ctrl.AdaptOptions(steps=0)), tmp_path / "c")
    if shutil.which("gcc") and shutil.which("make"):
        run("make", "-C", tmp_path / "c", "all", "CC=gcc", f"CFLAGS=-std=c99 {STRICT}")


def test_templates_know_nothing_else():
    with pytest.raises(jinja2.UndefinedError):
        _environment("double").from_string("{{ nothing }}").render()


def test_an_earlier_export_is_replaced(result, tmp_path):
    export(result, tmp_path / "c", prefix="pump", measured=False)
    (tmp_path / "c" / "build").mkdir()
    done = export(result, tmp_path / "c", measured=False)
    assert set(contents(tmp_path / "c")) == set(done.files)
    assert list(tmp_path.iterdir()) == [tmp_path / "c"]


def test_an_empty_folder_is_used(result, tmp_path):
    export(result, tmp_path, measured=False)
    assert (tmp_path / "Makefile").is_file()


def test_the_current_folder_is_not_replaced(result, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (".", tmp_path.parent):
        with pytest.raises(OutputError, match="holds the current folder"):
            export(result, path, measured=False)
    assert not list(tmp_path.iterdir())


def test_no_current_folder(result, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(OutputError, match="the current folder does not exist"):
        export(result, tmp_path / "c", measured=False)


def test_missing_parents_are_made(result, tmp_path):
    export(result, tmp_path / "a" / "b" / "c", measured=False)
    assert (tmp_path / "a" / "b" / "c" / "Makefile").is_file()


@pytest.mark.parametrize("name", ["notes.txt", "include/other_config.h"])
def test_a_foreign_folder_is_kept(result, name, tmp_path):
    file = tmp_path / "c" / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    with pytest.raises(OutputError, match="no earlier export"):
        export(result, tmp_path / "c")
    assert contents(tmp_path) == {f"c/{name}": b"mine"}


def test_a_foreign_file_in_an_export_is_kept(result, tmp_path):
    export(result, tmp_path / "c", measured=False)
    (tmp_path / "c" / "notes.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=r"notes\.txt, which is no part of an export"):
        export(result, tmp_path / "c")
    assert contents(tmp_path) == before


def test_the_path_is_a_file(result, tmp_path):
    (tmp_path / "c").write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        export(result, tmp_path / "c")
    with pytest.raises(OutputError, match=r"cannot write .*not below a file"):
        export(result, tmp_path / "c" / "d")
    assert contents(tmp_path) == {"c": b"mine"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("method", ["write_bytes", "mkdir", "rename"])
@pytest.mark.parametrize("existing", [False, True])
def test_a_failed_write_leaves_nothing_behind(result, code, method, existing, tmp_path, monkeypatch):
    folder = tmp_path / "new" / "c"
    if existing:
        export(result, folder, prefix="old", measured=False)
    before = contents(tmp_path)
    original, calls = getattr(Path, method), []

    def fail(self, *arguments, **options):
        calls.append(self)
        if len(calls) > (1 if method == "rename" and existing else 3 if method != "rename" else 0):
            monkeypatch.setattr(Path, method, original)
            raise OSError(code, "no luck", str(self))
        return original(self, *arguments, **options)

    monkeypatch.setattr(Path, method, fail)
    with pytest.raises(OutputError, match=r"cannot write .*c.*: no luck; (make room|choose)") as error:
        export(result, folder, measured=False)
    assert ".c." not in str(error.value)  # the temporary folder is no business of the user
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == (["new"] if existing else [])


def test_an_interrupt_leaves_nothing_behind(result, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(result, tmp_path / "c", measured=False)
    assert not list(tmp_path.iterdir())

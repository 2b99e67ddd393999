"""What editors, type checkers and users see of the installed package, from a folder that has nothing of it.

`make dist` runs this on the wheel that it has installed: SCPO_INSTALLED is the folder of its programs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tomli_w

USER = """
import scpo_ctrl as sc
from scpo_ctrl.codegen import export
from scpo_ctrl.models import double_integrator

plant = double_integrator()
backup = sc.lqr(plant, [0.1, 0.1], [10.0])
reveal_type(plant.x_max)
reveal_type(backup)
reveal_type(sc.adapt)
reveal_type(export)
reveal_type(sc.AdaptOptions().steps)
plant.no_such_attribute
"""
ROOT = Path(__file__).parents[1]
INSTALLED = Path(os.environ.get("SCPO_INSTALLED") or Path(sys.executable).parent).absolute()
of_the_wheel = pytest.mark.skipif("SCPO_INSTALLED" not in os.environ, reason="of an installed wheel: make dist")
KNOWN = ("ndarray", "Backup", "Result", "Export", "int")


def checker(name: str) -> Path:
    program = Path(sys.executable).with_name(name)
    if not program.exists():
        pytest.skip(f"{name} is not installed beside this Python")
    return program


def revealed(output: str) -> list[str]:
    return re.findall(r"(?:Revealed type is|Type of \"[^\"]+\" is) \"(.+)\"", output)


@pytest.mark.table(2)
@pytest.mark.parametrize("name", ["mypy", "pyright"])
def test_type_checkers_find_the_package_from_any_folder(name, tmp_path):
    (tmp_path / "user.py").write_text(USER)
    python = "--python-executable" if name == "mypy" else "--pythonpath"
    command = [checker(name), python, INSTALLED / "python", "user.py"]
    found = subprocess.run([str(x) for x in command], cwd=tmp_path, capture_output=True, text=True, check=False)
    types = revealed(found.stdout)
    assert len(types) == len(KNOWN), found.stdout + found.stderr
    for text, known in zip(types, KNOWN, strict=True):
        assert known in text
        assert "Unknown" not in text
        assert "Any" not in text.replace("dtype[Any]", "").replace("_AnyShape", "").replace("tuple[Any", "")
    errors = [line for line in found.stdout.splitlines() if "error:" in line]
    assert len(errors) == 1, found.stdout
    assert "no_such_attribute" in errors[0]


def test_nothing_else_lies_at_the_top():
    """What a test or an example writes into the folder that it runs in would be committed one day."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = {line.split("/")[0] for line in listed.splitlines() if "/" in line}
    assert folders == {".ci", ".github", "codegen", "docs", "examples", "models", "scpo_ctrl", "tests"}


@pytest.fixture
def unpacked(tmp_path) -> Path:
    """The folder of packages with the wheel in it: the installed one, or one made here."""
    if "SCPO_INSTALLED" in os.environ:
        return next((INSTALLED.parent / "lib").glob("python3*/site-packages"))
    source = shutil.copytree(
        ROOT,
        tmp_path / "source",
        symlinks=True,
        ignore=shutil.ignore_patterns(".git", ".venv", "build", "runs", "*.so"),
    )
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path / "wheel", source]
    subprocess.run([str(x) for x in command], check=True, capture_output=True)
    shutil.unpack_archive(next((tmp_path / "wheel").glob("*.whl")), tmp_path / "unpacked", "zip")
    return tmp_path / "unpacked"


def test_a_wheel_holds_every_file_of_the_package(unpacked):
    if not (ROOT / "pyproject.toml").exists() or not shutil.which("git"):
        pytest.skip("not a checkout")
    listed = subprocess.run(
        ["git", "ls-files", "scpo_ctrl", "models", "codegen"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    links = {"scpo_ctrl/models", "scpo_ctrl/codegen"}
    wanted = {name if name.startswith("scpo_ctrl/") else f"scpo_ctrl/{name}" for name in listed if name not in links}
    packed = {str(path.relative_to(unpacked)) for path in (unpacked / "scpo_ctrl").rglob("*") if path.is_file()}
    unneeded = {name for name in wanted if "/projection/host/" in name}  # compiled into the extension
    assert wanted - unneeded <= packed


def installed(program: str, *words: str, folder: Path) -> str:
    """Run a program of the installation where there is no compiler, and nothing else; return what it prints."""
    environment = {"PATH": str(INSTALLED), "HOME": str(folder)}
    command = [INSTALLED / program, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@of_the_wheel
def test_an_installed_wheel_is_imported_from_an_empty_folder(unpacked, tmp_path):
    """Its solver too, which is compiled: the wheel is of a platform."""
    names = ("scpo_ctrl", "scpo_ctrl.models", "scpo_ctrl.codegen", "scpo_ctrl.projection._solver")
    code = "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]), sep='\\n')"
    files = installed("python", "-c", code, *names, folder=tmp_path).splitlines()
    assert len(files) == len(names)
    assert all(Path(file).is_relative_to(unpacked) for file in files)
    assert files[-1].endswith(".abi3.so")


@of_the_wheel
def test_an_installed_wheel_goes_from_plant_to_c_without_a_compiler(unpacked, tmp_path):
    """A few steps of the main job; in the long form `demo` itself, which takes minutes where nothing is compiled."""
    if os.environ.get("SCPO_LONG"):
        said = json.loads(installed("scpo-ctrl", "demo", "--out", "run", "--json", folder=tmp_path))
    else:
        problem = tomllib.loads(
            (unpacked / "scpo_ctrl" / "data" / "double_integrator.toml").read_text(encoding="utf-8")
        )
        problem["adapt"] = problem.get("adapt", {}) | {"steps": 5, "audit": False}
        (tmp_path / "short.toml").write_text(tomli_w.dumps(problem), encoding="utf-8")
        said = json.loads(installed("scpo-ctrl", "adapt", "short.toml", "--out", "run", "--json", folder=tmp_path))
        installed("scpo-ctrl", "export", "run", "--out", "run/c", folder=tmp_path)
    assert said["violations"] == 0
    assert said["objective_final"] < said["objective_initial"]
    installed("scpo-ctrl", "verify", "run", folder=tmp_path)
    assert (tmp_path / "run" / "report.html").stat().st_size > 100_000
    assert (tmp_path / "run" / "c" / "include" / "scpo.h").is_file()

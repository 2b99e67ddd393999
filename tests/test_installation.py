"""What editors and type checkers see of the installed package, from a folder that has nothing of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
KNOWN = ("ndarray", "Backup", "Result", "Export", "int")


def checker(name: str) -> Path:
    program = Path(sys.executable).with_name(name)
    if not program.exists():
        pytest.skip(f"{name} is not installed beside this Python")
    return program


def revealed(output: str) -> list[str]:
    return re.findall(r"(?:Revealed type is|Type of \"[^\"]+\" is) \"(.+)\"", output)


@pytest.mark.parametrize("name", ["mypy", "pyright"])
def test_type_checkers_find_the_package_from_any_folder(name, tmp_path):
    (tmp_path / "user.py").write_text(USER)
    python = "--python-executable" if name == "mypy" else "--pythonpath"
    command = [checker(name), python, sys.executable, "user.py"]
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
    root = Path(__file__).parents[1]
    if not (root / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout
    folders = {line.split("/")[0] for line in listed.splitlines() if "/" in line}
    assert folders == {".ci", "codegen", "docs", "examples", "models", "scpo_ctrl", "tests"}


def test_a_wheel_holds_every_file_of_the_package(tmp_path):
    root = Path(__file__).parents[1]
    if not (root / "pyproject.toml").exists() or not shutil.which("git"):
        pytest.skip("not a checkout")
    listed = subprocess.run(
        ["git", "ls-files", "scpo_ctrl", "models", "codegen"], cwd=root, capture_output=True, text=True, check=True
    ).stdout.split()
    links = {"scpo_ctrl/models", "scpo_ctrl/codegen"}
    wanted = {name if name.startswith("scpo_ctrl/") else f"scpo_ctrl/{name}" for name in listed if name not in links}
    source = shutil.copytree(
        root,
        tmp_path / "source",
        symlinks=True,
        ignore=shutil.ignore_patterns(".git", ".venv", "build", "runs", "*.so"),
    )
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path / "wheel", source]
    subprocess.run([str(x) for x in command], check=True, capture_output=True)
    unpacked = tmp_path / "unpacked"
    shutil.unpack_archive(next((tmp_path / "wheel").glob("*.whl")), unpacked, "zip")
    packed = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    unneeded = {name for name in wanted if "/projection/host/" in name}  # compiled into the extension
    assert wanted - unneeded <= packed

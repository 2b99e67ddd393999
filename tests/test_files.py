"""Files of users: only regular ones are read, none larger than what is meant, and nothing waits for a pipe."""

from __future__ import annotations

import io
import zipfile

import nasty
import numpy as np
import pytest
from problem_files import IMITATION, write, write_expert

from scpo_ctrl.errors import ScpoError
from scpo_ctrl.reading import MIB, opened, read_bytes, read_text, unpacked
from scpo_ctrl.record.files import load_result
from scpo_ctrl.verification.verify import verify

SAID = {
    "fifo": "it is a pipe, and only regular files are read",
    "folder": "Is a directory",
    "device": "it is a device, and only regular files are read",
    "terminal": "it is a device, and only regular files are read",
    "sparse": "MiB, the limit of such a file",
    "loop": "Too many levels of symbolic links",
    "listening": "it is a socket, and only regular files are read",
}


@pytest.mark.parametrize("kind", nasty.NO_FILES)
@pytest.mark.parametrize("what", ["problem", "csv", "learned"])
def test_a_problem_of_what_is_no_file(tmp_path, run, kind, what):
    path, named = tmp_path / "problem.toml", tmp_path / {"csv": "expert.csv", "learned": "learned.npz"}.get(what, "-")
    if what == "problem":
        nasty.NO_FILES[kind](path)
    else:
        write(path, IMITATION if what == "csv" else nasty.LEARNED)
        nasty.NO_FILES[kind](named)
    before = sorted(tmp_path.iterdir())
    outcome = run("adapt", path, "--out", tmp_path / "run")
    assert outcome.status == 2
    assert outcome.line.startswith(f"scpo-ctrl: {path}: ")
    assert what == "problem" or str(named) in outcome.line
    assert SAID[kind] in outcome.line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ["fifo", "device", "sparse"])
@pytest.mark.parametrize("name", ["problem.toml", "history.npz", "result.json", "theta.npy", "imitation.csv"])
def test_a_record_of_what_is_no_file(copy_of, run, kind, name):
    folder = copy_of("imitation")
    (folder / name).unlink()
    nasty.NO_FILES[kind](folder / name)
    with pytest.raises(ScpoError, match=rf"{name}.*(only regular files are read|the limit of such a file)"):
        verify(folder)
    if name not in ("theta.npy", "result.json"):
        with pytest.raises(ScpoError, match=r"only regular files are read|the limit of such a file"):
            load_result(folder)
    assert run("verify", folder).status == 2


def test_a_file_at_its_limit_is_read_and_one_byte_more_is_not(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"x" * MIB)
    assert len(read_bytes(path, MIB)) == MIB
    path.write_bytes(b"x" * (MIB + 1))
    with pytest.raises(OSError, match="larger than 1 MiB"), opened(path, MIB):
        pass


def test_a_file_without_a_size_is_limited_too():
    assert read_bytes("/proc/self/status", MIB)
    with pytest.raises(OSError, match="the limit"):
        read_bytes("/proc/self/status", 10)


def test_line_ends_are_made_alike(tmp_path):
    (tmp_path / "t").write_bytes(b"a\r\nb\rc\n")
    assert read_text(tmp_path / "t") == "a\nb\nc\n"


def test_arrays_that_unpack_to_too_much_are_not_unpacked():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x0.npy", bytes(3 * MIB))
    assert len(buffer.getvalue()) < MIB
    buffer.seek(0)
    with pytest.raises(ValueError, match="unpacks to 3 MiB, more than 2 MiB"):
        unpacked(buffer, 2 * MIB)
    whole = io.BytesIO()
    np.savez(whole, a=np.arange(3.0))
    whole.seek(0)
    np.testing.assert_array_equal(unpacked(whole, MIB)["a"], np.arange(3.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x0;x1;u0\n1;2;3\n", "its entries are separated by ';'; separate them by ','"),
        ("x0\tx1\tu0\n1\t2\t3\n", r"its entries are separated by '\t'"),
        ("x0,x1,u0\n1_0,2,3\n", "line 2, column 'x0' is '1_0', expected a finite number such as"),
        ("x0,x1,u0\n1,٣,3\n", "line 2, column 'x1' is '٣'"),
        ("x0,x1,u0\n1,2,0x10\n", "line 2, column 'u0' is '0x10'"),
        ("x0,x1,u0\n1,2,1e999\n", "line 2, column 'u0' is '1e999'"),
    ],
)
def test_imitation_data_that_only_python_would_take(tmp_path, run, text, said):
    path = write(tmp_path / "problem.toml", IMITATION)
    (tmp_path / "expert.csv").write_text(text, encoding="utf-8")
    outcome = run("adapt", path, "--out", tmp_path / "run")
    assert (outcome.status, said in outcome.line) == (2, True), outcome.line


def test_numbers_as_spreadsheets_write_them_are_read(tmp_path, run):
    path = write(tmp_path / "problem.toml", IMITATION | {"adapt.steps": 0})
    write_expert(tmp_path / "expert.csv")
    with (tmp_path / "expert.csv").open("a") as file:
        file.write('+.5, -1.e-1 ,"1E+0"\n')
    assert run("adapt", path, "--out", tmp_path / "run", "--json").status == 0

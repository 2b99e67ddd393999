"""The cache of compiled functions: damaged, full or not writable, it costs a compilation and nothing else."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import pytest

from scpo_ctrl import compiled
from scpo_ctrl.errors import OutputError

SOURCE = {"f.c": "int f(void) { return 7; }"}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled.tempfile, "tempdir", str(tmp_path))
    return tmp_path / "cache" / "scpo-ctrl"


def full_disk(monkeypatch, where):
    """No file can be written below these folders."""
    real = Path.write_text

    def write_text(self, *arguments, **options):
        if any(self.is_relative_to(folder) for folder in where):
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", write_text)


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "its digest is missing", "its digest is another"])
def test_a_damaged_library_is_compiled_again(damage):
    library = compiled.compile_library(SOURCE)
    whole, note = library.read_bytes(), library.with_suffix(".sha256")
    if damage == "its digest is missing":
        note.unlink()
    elif damage == "its digest is another":
        note.write_bytes(b"\xff")
    else:
        library.unlink()
        library.write_bytes({"cut": whole[:1000], "empty": b"", "noise": whole[::-1]}[damage])
    assert compiled.compile_library(SOURCE) == library
    assert ctypes.CDLL(str(library)).f() == 7
    assert compiled._is_whole(library)


def test_a_full_cache_is_done_without(cache, monkeypatch):
    cache.mkdir(parents=True)
    full_disk(monkeypatch, [cache])
    library = compiled.compile_library(SOURCE)
    assert not library.is_relative_to(cache)
    assert ctypes.CDLL(str(library)).f() == 7
    assert list(cache.iterdir()) == []


def test_a_file_system_that_loads_no_library_is_done_without(cache, monkeypatch, tmp_path):
    real = os.statvfs

    def statvfs(path):
        fields = list(real(path))
        fields[8] |= os.ST_NOEXEC if Path(path).is_relative_to(cache) else 0  # f_flag
        return os.statvfs_result(fields)

    monkeypatch.setattr(os, "statvfs", statvfs)
    assert compiled.compile_library(SOURCE).parent == tmp_path / "scpo-ctrl"


def test_no_room_anywhere_has_its_clear_error(monkeypatch, tmp_path):
    full_disk(monkeypatch, [tmp_path])
    with pytest.raises(OutputError, match=r"cannot be written: No space left on device; free some space, or set XDG_"):
        compiled.compile_library(SOURCE)


def test_a_compilation_that_takes_long_is_logged_and_nothing_is_printed(monkeypatch, caplog, capsys, tmp_path):
    slow = tmp_path / "slow-cc"
    slow.write_text('#!/bin/sh\nsleep 0.5\nexec cc "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("CC", str(slow))
    monkeypatch.setattr(compiled, "_PATIENCE", 0.01)
    with caplog.at_level("INFO", logger="scpo_ctrl"):
        compiled.compile_library(SOURCE)
    assert [record.getMessage().split(",")[0] for record in caplog.records] == ["compiling the rollouts"]
    assert capsys.readouterr() == ("", "")

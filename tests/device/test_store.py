"""The parameter store in C, on a flash in Python: what it answers, and the same bytes as Python's."""

from __future__ import annotations

import ctypes
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_builds import HASH, SOURCES, STORE, STRICT, build, write_config

from scpo_ctrl.device import decode, encode, lifetime

OK, EMPTY, BUSY, FAILED, GEOMETRY, BAD_THETA, DAMAGED, FORMAT, FOREIGN, REFUSED = range(10)
COUNT = 5
CALL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.POINTER(ctypes.c_ubyte), ctypes.c_uint32)
ERASE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)
VERIFY = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32
)


class Flash(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("sectors", "sector_size", "program_unit")),
        ("erased", ctypes.c_int),
        ("read", CALL),
        ("program", CALL),
        ("erase", ERASE),
        ("user", ctypes.c_void_p),
    ]


class Store(ctypes.Structure):
    _fields_ = [
        ("flash", ctypes.c_void_p),
        *((name, ctypes.c_uint32) for name in ("saves", "erasures", "failures", "damaged", "foreign")),
        ("own", ctypes.c_uint32 * 16),
    ]


class Device:
    """A store on a flash, after a reset."""

    def __init__(self, library: Any, real: str = "float", sectors: int = 2, size: int = 320, unit: int = 8) -> None:
        self.library, self.type = library, np.dtype("<f4" if real == "float" else "<f8")
        self.bytes = np.full(sectors * size, 0xFF, dtype=np.uint8)
        self.programmed, self.erased = 0, 0
        calls = CALL(self._read), CALL(self._program), ERASE(self._erase)
        self.flash = Flash(sectors, size, unit, 0xFF, *calls, None)
        self.store = Store()
        self.begin()

    def begin(self) -> int:
        return int(self.library.scpo_store_begin(ctypes.byref(self.store), ctypes.byref(self.flash)))

    def load(self) -> tuple[int, np.ndarray]:
        theta = np.full(COUNT, np.nan, dtype=self.type)
        status = self.library.scpo_store_load(ctypes.byref(self.store), ctypes.c_void_p(theta.ctypes.data))
        return status, theta

    def save(self, *theta: float) -> int:
        values = np.resize(np.array(theta, dtype=self.type), COUNT)
        return int(self.library.scpo_store_save(ctypes.byref(self.store), ctypes.c_void_p(values.ctypes.data)))

    def prepare(self, records: int = 1) -> int:
        return int(self.library.scpo_store_prepare(ctypes.byref(self.store), ctypes.c_uint32(records)))

    @property
    def room(self) -> int:
        return int(self.library.scpo_store_room(ctypes.byref(self.store)))

    def _read(self, _: object, address: int, data: Any, size: int) -> int:
        for i in range(size):
            data[i] = int(self.bytes[address + i])
        return 0

    def _program(self, _: object, address: int, data: Any, size: int) -> int:
        assert np.all(self.bytes[address : address + size] == 0xFF)
        self.bytes[address : address + size] = data[:size]
        self.programmed += 1
        return 0

    def _erase(self, _: object, address: int, size: int) -> int:
        self.bytes[address : address + size] = 0xFF
        self.erased += 1
        return 0


def library(folder: Path, real: str = "float", problem: bytes = HASH) -> Any:
    return ctypes.CDLL(
        str(build(folder, [], "store.so", "-O1", "-shared", "-fPIC", real=real, count=COUNT, problem=problem))
    )


@pytest.fixture(scope="module", params=["float", "double"])
def both(request, tmp_path_factory):
    return library(tmp_path_factory.mktemp("store"), request.param), request.param


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return library(tmp_path_factory.mktemp("store"))


def written(library: Any, real: str, theta: np.ndarray, sequence: int) -> bytes:
    values = theta.astype("<f4" if real == "float" else "<f8")
    blob = (ctypes.c_ubyte * (32 + values.nbytes))()
    library.scpo_blob_write(ctypes.c_void_p(values.ctypes.data), ctypes.c_uint32(sequence), blob)
    return bytes(blob)


def received(library: Any, real: str, blob: bytes, verify: Any = None) -> tuple[int, np.ndarray, int]:
    theta = np.zeros(COUNT, dtype="<f4" if real == "float" else "<f8")
    sequence = ctypes.c_uint32(99)
    callback = VERIFY(verify) if verify else ctypes.cast(None, VERIFY)
    data = ctypes.c_void_p(theta.ctypes.data)
    status = library.scpo_blob_read(blob, len(blob), callback, None, data, ctypes.byref(sequence))
    return status, theta, sequence.value


def test_the_same_bytes_as_python(both):
    store, real = both
    rng = np.random.default_rng(1)
    for sequence in (0, 1, 2**31, 2**32 - 1):
        theta = rng.standard_normal(COUNT) * 10.0 ** rng.integers(-30, 30)
        blob = encode(theta, HASH, sequence, real)
        assert blob == written(store, real, theta, sequence)
        status, back, number = received(store, real, blob)
        found = decode(blob, HASH)
        assert (status, number, found.sequence, found.real) == (OK, sequence, sequence, real)
        assert np.array_equal(back.astype(float), found.theta)
    one = encode([1.0], HASH, 2, "float")  # little-endian on every machine
    assert one[:28] == b"SCPO\x01\x04\0\0\x01\0\0\0\x02\0\0\0" + HASH + b"\0\0\0\0"
    assert one[32:] == bytes.fromhex("0000803f")


def test_the_reader_refuses(both):
    store, real = both
    size = 4 if real == "float" else 8
    right = encode(np.arange(COUNT), HASH, 3, real)

    def answer(blob: bytes, verify: Any = None) -> int:
        status, theta, sequence = received(store, real, blob, verify)
        assert status == OK or (sequence == 99 and not theta.any())
        return status

    for length in range(len(right)):
        assert answer(right[:length]) == DAMAGED
    assert answer(right + b"\0") == DAMAGED
    for bit in range(8 * len(right)):
        flipped = bytearray(right)
        flipped[bit // 8] ^= 1 << bit % 8
        assert answer(bytes(flipped)) in (DAMAGED, FORMAT, FOREIGN)
    other = "double" if real == "float" else "float"
    assert answer(encode(np.arange(COUNT), HASH, 3, other)) == FORMAT
    assert answer(encode(np.arange(COUNT), HASH[::-1], 3, real)) == FOREIGN
    assert answer(encode(np.arange(COUNT + 1), HASH, 3, real)) == FOREIGN
    assert answer(_with_nan(right, size)) == BAD_THETA


def _with_nan(blob: bytes, size: int) -> bytes:
    data = struct.pack("<f" if size == 4 else "<d", np.nan) + blob[32 + size :]
    return blob[:28] + struct.pack("<I", zlib.crc32(data, zlib.crc32(blob[:28]))) + data


def test_signed_updates(both):
    store, real = both
    blob, seen = encode(np.ones(COUNT), HASH, 3, real), []

    def verify(_: object, start: int, size: int, tail: int, tail_size: int) -> int:
        seen.append((ctypes.string_at(start, size), ctypes.string_at(tail, tail_size)))
        return int(seen[-1][1] == b"signed")

    assert received(store, real, blob + b"signed", verify)[0] == OK
    assert received(store, real, blob + b"forged", verify)[0] == REFUSED
    assert received(store, real, blob, verify)[0] == REFUSED
    assert seen == [(blob, b"signed"), (blob, b"forged"), (blob, b"")]
    assert received(store, real, blob[:-1] + b"!" + b"signed", verify)[0] == DAMAGED
    assert len(seen) == 3  # what is damaged is not asked about


def test_saving_never_erases(plain):
    device = Device(plain)
    status, theta = device.load()
    assert status == EMPTY
    assert not theta.any()
    assert (device.save(1), device.erased, device.programmed) == (BUSY, 0, 0)
    assert (device.prepare(), device.erased) == (OK, 1)
    saved = 0
    for sector in range(1, 6):
        while device.room:
            saved += 1
            assert device.save(saved) == OK
            assert device.load()[1][0] == saved
        assert (device.save(99), device.erased) == (BUSY, sector)
        assert device.load()[1][0] == saved
        assert (device.prepare(), device.erased) == (OK, sector + 1)
    assert saved == 5 * ((320 - 12 * 8) // 56)
    assert device.store.saves == saved
    assert device.store.erasures == 6


def test_a_sector_may_be_erased_ahead(plain):
    device = Device(plain, sectors=3)
    assert device.prepare() == OK
    assert (device.prepare(), device.erased, device.room) == (OK, 1, 4)
    assert (device.prepare(5), device.erased) == (OK, 1)  # it is waiting already
    assert device.save(0) == OK
    assert (device.prepare(5), device.erased, device.room) == (OK, 2, 7)
    assert (device.prepare(100), device.erased) == (OK, 2)
    assert [device.save(k) for k in range(1, 9)] == [OK] * 7 + [BUSY]
    assert device.erased == 2


def test_after_a_reset_a_fresh_sector(plain):
    device = Device(plain)
    device.prepare()
    assert device.save(1) == OK
    assert device.begin() == OK
    assert (device.save(2), device.room) == (BUSY, 0)  # there is room, but what is there may only look blank
    before = device.bytes.copy()
    assert device.prepare() == OK
    changed = np.flatnonzero(device.bytes != before)
    assert set(changed // 320) == {0}  # two more seals where the record is, before the other sector is erased
    assert device.load()[1][0] == 1
    assert device.save(2) == OK
    assert device.load()[1][0] == 2


def test_records_are_blobs(both):
    store, real = both
    device = Device(store, real, unit=32, size=1024)
    assert device.prepare() == OK
    assert device.save(1.5, -2.5) == OK
    start = 12 * 32
    blob = device.bytes[start : start + 32 + COUNT * device.type.itemsize].tobytes()
    found = decode(blob, HASH)
    assert found.theta.tolist() == [1.5, -2.5, 1.5, -2.5, 1.5]
    assert blob == encode(found.theta, HASH, found.sequence, real)


def test_what_is_not_finite_is_not_saved(plain):
    device = Device(plain)
    device.prepare()
    for bad in (np.nan, np.inf, -np.inf):
        assert (device.save(1, 2, 3, 4, bad), device.programmed) == (BAD_THETA, 0)
    assert device.save(3e38, -1e-45) == OK


def test_records_of_another_problem_are_passed_over(plain, tmp_path):
    other = Device(library(tmp_path, problem=HASH[::-1]))
    other.prepare()
    assert other.save(7) == OK
    device = Device(plain)
    device.bytes[:] = other.bytes
    assert device.begin() == OK
    status, theta = device.load()
    assert (status, theta.any()) == (EMPTY, False)
    assert device.store.foreign > 0
    assert device.prepare() == OK
    assert device.save(8) == OK
    assert device.load()[1][0] == 8


def test_a_record_that_ages(plain):
    """Flipped bits of the newest record: the one before it is there."""
    device = Device(plain)
    device.prepare()
    assert [device.save(1), device.save(2)] == [OK, OK]
    device.bytes[12 * 8 + 56 + 40] ^= 4
    assert device.begin() == OK
    assert device.load()[1][0] == 1
    assert device.store.damaged > 0


def test_resets_without_a_save(plain):
    """Each costs two seals; before they are used up the record moves, and stays the same."""
    device = Device(plain)
    device.prepare()
    assert device.save(1.5) == OK
    for _ in range(30):
        assert device.begin() == OK
        assert device.prepare() == OK
        status, theta = device.load()
        assert (status, theta[0]) == (OK, 1.5)
    assert device.room >= 3
    assert device.save(2.5) == OK
    assert device.load()[1][0] == 2.5


def test_geometries_are_checked(plain):
    device = Device(plain)
    for name, value in (
        ("sectors", 1), ("sector_size", 0), ("sector_size", 324), ("sector_size", 144), ("sector_size", 1 << 31),
        ("program_unit", 0), ("program_unit", 3), ("program_unit", 64), ("erased", 256), ("erased", -2),
    ):  # fmt: skip
        before = getattr(device.flash, name)
        setattr(device.flash, name, value)
        assert device.begin() == GEOMETRY, (name, value)
        setattr(device.flash, name, before)
    device.flash.erase = ctypes.cast(None, ERASE)
    assert device.begin() == GEOMETRY


def test_lifetime_counts_as_the_store_does(plain):
    device = Device(plain, sectors=3, size=1024, unit=16)
    device.prepare()
    found = lifetime(COUNT, 24, resets=2, cycles=1000, sectors=3, sector_size=1024, program_unit=16)
    assert device.room == found.records
    assert found.erasures == 24 / found.records + 2
    assert found.years == pytest.approx(3 * 1000 / found.erasures / 365.25)
    assert str(found).startswith(f"{found.years:.3g} years")


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize(
    "compiler", [("gcc", "-std=c99"), ("g++", "-x", "c++"), ("clang", "-std=c99")], ids=lambda c: c[0]
)
def test_strict_compilers(tmp_path, compiler, real):
    write_config(tmp_path, real, COUNT)
    includes = [f"-I{path}" for path in (tmp_path, STORE / "include", STORE / "src")]
    for source in SOURCES:
        command = [*compiler, "-O2", *STRICT, *includes, "-c", source, "-o", tmp_path / f"{source.stem}.o"]
        try:
            subprocess.run([str(x) for x in command], check=True)
        except FileNotFoundError:
            pytest.skip(f"{compiler[0]} is not installed")
    objects = [str(tmp_path / f"{source.stem}.o") for source in SOURCES]
    names = subprocess.run(["nm", "-u", *objects], capture_output=True, text=True, check=True).stdout.split()
    outside = {name for name in names if name.isidentifier() and name != "U" and "scpo" not in name}
    assert outside <= {"memcpy", "memset", "memcmp", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}  # no heap, no stdio

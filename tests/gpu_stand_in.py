"""A stand-in for CuPy and a GPU, whose memory is the host's, for machines that have no GPU.

What it can show is that no key is lost or put in a wrong place between the threads, the slots and
the buckets. What a stream, an event or CuPy's sort really do, only a GPU shows: `test_gpu_sort.py`.
"""

from __future__ import annotations

import ctypes
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cupy_compat.cudamark.gpu import buckets, driver, memory, pinned, sort, staging

_current = threading.local()


class OutOfMemoryError(MemoryError):
    """CuPy's own is one, too."""


class CUDARuntimeError(RuntimeError):
    """What CuPy raises for CUDA's errors."""


class Device:
    """``cupy.cuda.Device``."""

    def __init__(self, id: int | None = None) -> None:
        self.id: int = getattr(_current, "id", 0) if id is None else id

    def __enter__(self) -> Device:
        self._before = getattr(_current, "id", 0)
        _current.id = self.id
        return self

    def __exit__(self, *error: object) -> None:
        _current.id = self._before


class Stream:
    """``cupy.cuda.Stream``; everything on it has happened as soon as it is asked for."""

    ptr = 1

    def __init__(self, non_blocking: bool) -> None:
        assert non_blocking

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def wait_event(self, event: object) -> None:
        """Do nothing: it has happened."""

    def synchronize(self) -> None:
        """Do nothing: all has happened."""


class Event:
    """``cupy.cuda.Event``."""

    ptr = 2

    def __init__(self, disable_timing: bool) -> None:
        assert disable_timing

    def record(self, stream: object) -> None:
        """Do nothing: it has happened."""

    def synchronize(self) -> None:
        """Do nothing: it has happened."""


class Keys(np.ndarray[Any, Any]):
    """``cupy.ndarray``."""

    @property
    def data(self) -> Any:  # type: ignore[override]
        """Where it stands."""
        return SimpleNamespace(ptr=self.ctypes.data)

    def get(self) -> NDArray[Any]:
        """Return a copy on the host."""
        return np.array(self)


class Gpu:
    """One or several GPUs.

    Attributes
    ----------
    free : dict of int to int
        By device: how many bytes of keys can be sorted at once; all that a test may want, unless it
        says less.
    locked : set of (int, int)
        Where memory that counts as page-locked begins and ends.
    calls : list of str
        What has been called: ``upload`` and ``download`` by the loops, ``at once`` by CuPy.
    """

    def __init__(self, devices: int) -> None:
        self.free = dict.fromkeys(range(devices), 1 << 40)
        self.locked: set[tuple[int, int]] = set()
        self.calls: list[str] = []
        pool = SimpleNamespace(free_all_blocks=lambda: None)
        self.cupy = SimpleNamespace(
            empty=self._empty,
            get_default_memory_pool=lambda: pool,
            cuda=SimpleNamespace(
                Device=Device,
                Event=Event,
                Stream=Stream,
                PinnedMemory=lambda nbytes: np.empty(nbytes, np.uint8),
                PinnedMemoryPointer=lambda memory, offset: memory[offset:],
                driver=SimpleNamespace(check_status=self._check, ctxGetCurrent=lambda: 3),
                memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
                runtime=SimpleNamespace(
                    CUDARuntimeError=CUDARuntimeError,
                    getDeviceCount=lambda: devices,
                    is_hip=False,
                    memcpyAsync=self._copy_at_once,
                    memcpyDeviceToHost=2,
                    memcpyHostToDevice=1,
                    pointerGetAttributes=self._attributes,
                ),
            ),
        )
        copy = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_size_t] * 4)
        done = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_size_t] * 2)
        happened = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t)
        three = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_size_t] * 3)
        # In the order of driver.Calls; kept here, since only their addresses go there.
        self.functions = [
            happened(lambda context: int(context != 3)),
            copy(lambda *arguments: self.copy("upload", *arguments)),
            copy(lambda *arguments: self.copy("download", *arguments)),
            done(lambda event, stream: 0),
            happened(lambda event: 0),
            happened(lambda event: 0),
            three(lambda stream, event, flags: flags),
        ]

    def copy(self, way: str, target: int, source: int, nbytes: int, stream: int) -> int:
        """Do what the driver's function does; a test may put another in its place."""
        self.calls.append(way)
        ctypes.memmove(target, source, nbytes)
        return 0

    def lock(self, a: NDArray[Any]) -> NDArray[Any]:
        """Have an array's memory count as page-locked."""
        self.locked.add((a.ctypes.data, a.ctypes.data + a.nbytes))
        return a

    def _empty(self, size: int, dtype: np.dtype[Any]) -> Any:
        if size * dtype.itemsize > self.free[Device().id]:
            raise OutOfMemoryError("out of memory")
        return np.empty(size, dtype).view(Keys)

    def _copy_at_once(self, target: int, source: int, nbytes: int, kind: int, stream: int) -> None:
        self.calls.append("at once")
        ctypes.memmove(target, source, nbytes)

    def _attributes(self, address: int) -> Any:
        within = any(start <= address < end for start, end in self.locked)
        return SimpleNamespace(type=int(within))

    def _check(self, code: int) -> None:
        if code:
            raise CUDARuntimeError(f"error {code}")


def put_in_place(monkeypatch: pytest.MonkeyPatch, devices: int = 1) -> Gpu:
    """Let `gpu_sort` find a stand-in, with pieces so small that few keys make many."""
    gpu = Gpu(devices)
    addresses = [driver.address_of(function) for function in gpu.functions]
    monkeypatch.setattr(sort, "require_cupy", lambda: gpu.cupy)
    monkeypatch.setattr(driver, "load", lambda cupy: driver.Calls(*addresses))
    monkeypatch.setattr(memory, "largest_sort", lambda: gpu.free[Device().id])
    for module in (sort, buckets):
        monkeypatch.setattr(module, "sort_on_device", _sort_on_device)
    monkeypatch.setattr(sort, "usable_cpus", lambda: 4)
    monkeypatch.setattr(sort, "_BYTES_PER_SQUARED_THREADS", 1000)
    monkeypatch.setattr(pinned, "PIECE_BYTES", 4096)
    monkeypatch.setattr(pinned, "_lanes", {})
    monkeypatch.setattr(staging, "_FIRST_BYTES", 512)
    return gpu


def _sort_on_device(cupy: object, keys: NDArray[Any], nat_last: bool) -> None:
    plain = np.asarray(keys)
    (plain.view("M8[s]") if nat_last else plain).sort()

"""A stand-in for CuPy and a GPU, whose memory is the host's, for machines that have no GPU.

What it can show is that no key is lost or put in a wrong place between the threads, the slots and
the buckets. What a stream, an event or CuPy's sort really do, only a GPU shows: `test_gpu_sort.py`.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cupy_compat.cudamark.gpu import (
    driver,
    memory,
    order,
    partition,
    pinned,
    sort,
    staging,
)

_current = threading.local()


class OutOfMemoryError(MemoryError):
    """CuPy's own is one, too."""


class CUDARuntimeError(RuntimeError):
    """What CuPy raises for CUDA's errors."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


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


class Pointer:
    """``cupy.cuda.MemoryPointer``."""

    def __init__(self, ptr: int) -> None:
        self.ptr = ptr

    def __add__(self, offset: int) -> Pointer:
        return Pointer(self.ptr + offset)


class Keys(np.ndarray[Any, Any]):
    """``cupy.ndarray``."""

    @property
    def data(self) -> Any:  # type: ignore[override]
        """Where it stands."""
        return Pointer(self.ctypes.data)

    def get(self, stream: object = None) -> NDArray[Any]:
        """Return a copy on the host."""
        return np.array(self)


class Gpu:
    """One or several GPUs.

    Attributes
    ----------
    free : dict of int to int
        By device: how many bytes of keys can be sorted at once; all that a test may want, unless it
        says less.
    taken : dict of int to int
        By device: how many bytes are allocated.
    locked : set of (int, int)
        Where memory that counts as page-locked begins and ends.
    calls : list of str
        What has been called: ``upload`` and ``download`` by the loops, ``at once`` by CuPy, and
        ``split``, the kernel.
    sorts : int
        How often CuPy has sorted.
    """

    def __init__(self, devices: int) -> None:
        self.free = dict.fromkeys(range(devices), 1 << 40)
        self.locked: set[tuple[int, int]] = set()
        self.calls: list[str] = []
        self.sorts = 0
        self.taken = dict.fromkeys(range(devices), 0)
        self._allocator = threading.local()
        self._turn = threading.Lock()
        pool = SimpleNamespace(free_all_blocks=lambda: None)
        self.cupy = SimpleNamespace(
            __version__="14.2.0",
            empty=self._empty,
            get_default_memory_pool=lambda: pool,
            cuda=SimpleNamespace(
                Device=Device,
                Event=Event,
                Stream=Stream,
                PinnedMemory=lambda nbytes: np.empty(nbytes, np.uint8),
                PinnedMemoryPointer=lambda memory, offset: memory[offset:],
                driver=SimpleNamespace(
                    CUDADriverError=CUDARuntimeError,
                    check_status=self._check,
                    ctxGetCurrent=lambda: 3,
                ),
                get_allocator=lambda: getattr(self._allocator, "now", self._allocate),
                using_allocator=self._using_allocator,
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
        launch = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_size_t] * 11)
        # In the order of driver.Calls; kept here, since only their addresses go there.
        self.functions = [
            happened(lambda context: int(context != 3)),
            copy(lambda *arguments: self.copy("upload", *arguments)),
            copy(lambda *arguments: self.copy("download", *arguments)),
            done(lambda event, stream: 0),
            happened(lambda event: 0),
            happened(lambda event: 0),
            three(lambda stream, event, flags: flags),
            launch(lambda *arguments: self.launch(*arguments)),
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

    def _empty(self, size: int, dtype: Any) -> Any:
        device = Device().id
        made = np.empty(size, dtype)
        # What a sort of so many bytes of keys takes: its work space, too.
        room = self.free[device] and int(memory._WORK_SPACE * self.free[device]) + (64 << 10)
        if self.taken[device] + made.nbytes > self.free[device] + room:
            raise OutOfMemoryError("out of memory")
        self.taken[device] += made.nbytes
        weakref.finalize(made, self._release, device, made.nbytes)
        return made.view(Keys)

    def _release(self, device: int, nbytes: int) -> None:
        self.taken[device] -= nbytes

    def _allocate(self, nbytes: int) -> Pointer:
        pointer = Pointer(0)
        pointer.memory = self._empty(nbytes, np.uint8)  # type: ignore[attr-defined]
        return pointer

    @contextmanager
    def _using_allocator(self, allocator: Callable[[int], Pointer]) -> Iterator[None]:
        before = self.cupy.cuda.get_allocator()
        self._allocator.now = allocator
        try:
            yield
        finally:
            self._allocator.now = before

    def sort_on_device(self, cupy: Any, keys: NDArray[Any], nat_last: bool) -> None:
        """Do what `order.sort_on_device` does."""
        self.sorts += 1
        plain = np.asarray(keys)
        work_space = cupy.cuda.get_allocator()(keys.nbytes)
        (plain.view("M8[s]") if nat_last else plain).sort()
        del work_space

    def kernel(self, cupy: object, name: str, dtype: np.dtype[Any], nat_last: bool) -> Any:
        """Return what `order.kernel` returns, with a handle that `launch` understands."""
        assert name == "partition"
        handle = ord(dtype.char) << 1 | nat_last

        def call(grid: object, block: object, arguments: tuple[Any, Any]) -> None:
            spans, plan = (argument.ctypes.data for argument in arguments)
            self._split(handle, spans, plan)

        call.kernel = SimpleNamespace(ptr=handle)  # type: ignore[attr-defined]
        return call

    def launch(self, kernel: int, *rest: int) -> int:
        """Do what the driver's function does; a test may put another in its place."""
        self._split(kernel, *at(rest[8], "u8", 2).tolist())
        return 0

    def _split(self, handle: int, spans_at: int, plan_at: int) -> None:
        """Do what ``partition`` in `partition.cu` does."""
        self.calls.append("split")
        dtype, nat_last = np.dtype(chr(handle >> 1)), bool(handle & 1)
        plan = at(plan_at, partition.plan_dtype(dtype), 1)[0]
        buckets = int(plan["buckets"])
        filled = at(int(plan["filled"]), "i8", buckets)
        for address, size in at(spans_at, "u8", 2 * order.SPANS).reshape(-1, 2).tolist():
            keys = at(address, dtype, size)
            ranks = order.rank(keys, nat_last)
            of = np.searchsorted(plan["splitters"][: buckets - 1], ranks, side="right")
            for bucket in range(buckets):
                part = keys[of == bucket]
                with self._turn:
                    start = int(plan["starts"][bucket] + filled[bucket])
                    filled[bucket] += part.size
                if start + part.size <= plan["starts"][bucket + 1]:
                    at(int(plan["bins"]) + start * dtype.itemsize, dtype, part.size)[:] = part

    def _copy_at_once(self, target: int, source: int, nbytes: int, kind: int, stream: int) -> None:
        self.calls.append("at once")
        ctypes.memmove(target, source, nbytes)

    def _attributes(self, address: int) -> Any:
        return SimpleNamespace(type=int(bool(self.extent_of(address)[1])))

    def extent_of(self, address: int) -> tuple[int, int]:
        """Return where page-locked memory at an address begins, and its bytes."""
        found = ((start, end - start) for start, end in self.locked if start <= address < end)
        return next(found, (0, 0))

    def _check(self, code: int) -> None:
        if code:
            raise CUDARuntimeError(f"error {code}")


def at(address: int, dtype: Any, size: int) -> NDArray[Any]:
    """Return what is at an address."""
    nbytes = size * np.dtype(dtype).itemsize
    if not nbytes:
        return np.empty(0, dtype)
    return np.frombuffer((ctypes.c_char * nbytes).from_address(int(address)), dtype)


def put_in_place(monkeypatch: pytest.MonkeyPatch, devices: int = 1) -> Gpu:
    """Let `gpu_sort` find a stand-in, with pieces so small that few keys make many."""
    gpu = Gpu(devices)
    addresses = [driver.address_of(function) for function in gpu.functions]
    monkeypatch.setattr(sort, "require_cupy", lambda: gpu.cupy)
    monkeypatch.setattr(driver, "load", lambda cupy: driver.Calls(*addresses))
    monkeypatch.setattr(memory, "largest_sort", lambda: gpu.free[Device().id])
    monkeypatch.setattr(staging, "sort_on_device", gpu.sort_on_device)
    monkeypatch.setattr(pinned, "_extent_of", lambda cupy, address: gpu.extent_of(address))
    monkeypatch.setattr(partition, "kernel", gpu.kernel)
    monkeypatch.setattr(sort, "usable_cpus", lambda: 4)
    monkeypatch.setattr(sort, "_BYTES_PER_SQUARED_THREADS", 1000)
    monkeypatch.setattr(pinned, "PIECE_BYTES", 4096)
    monkeypatch.setattr(pinned, "kept", {})
    monkeypatch.setattr(staging, "_FIRST_BYTES", 512)
    return gpu

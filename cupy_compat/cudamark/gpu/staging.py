"""`gpu_sort`: host array in, sorted host array out, with CPU threads that feed the bus.

A copy between ordinary (pageable) memory and the GPU runs at a fraction of the bus, because one
thread of the driver copies through a small pinned buffer, and because each page of a fresh result
is zeroed when it is first touched. Here every thread owns a contiguous share of the array, a CUDA
stream and a few pinned slots. It copies its share piece by piece into the slots and sends each
piece as soon as it is there. The thread that sends last starts the sort. Until the first sorted
piece is back, each thread touches the pages of its share of the result; then it copies the pieces
out as they arrive.

The pieces are large, because each of them costs a few hand-overs of the GIL, and the shares are
fixed, because a common queue costs more than the imbalance it evens out.
"""

from __future__ import annotations

import functools
import math
import mmap
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cupy_compat.cudamark.gpu.device import require_cupy
from cupy_compat.cudamark.gpu.memory import memory_error
from cupy_compat.cudamark.threads import checked_threads, usable_cpus

_PIECE_BYTES = 6 << 20
_SLOTS = 2
# What a thread costs to start and to hand the GIL over grows with their number, the copying that
# is left to each shrinks with it. So the best number grows as the square root of the array's size;
# seen on 16 cores: 4 threads for 40 MB, 8 for 200 MB, 16 for 800 MB.
_BYTES_PER_SQUARED_THREADS = 3_000_000
_SORTABLE = frozenset("?bBhHiIlLqQefdFD")
# Added to the bits of a datetime64, this turns NaT (the least int64) into the greatest uint64 and
# keeps the order of all others.
_NAT_LAST = np.uint64(2**63 - 1)

_Array = NDArray[Any]
_lock = threading.Lock()
_lanes: dict[int, list[_Lane]] = {}


def gpu_sort(a: ArrayLike, threads: SupportsIndex | None = None) -> _Array:
    """Return a sorted copy of a host array, sorted by the current GPU.

    Parameters
    ----------
    a : array_like
        One-dimensional, of a dtype that CuPy sorts (bool, integers, float16 to float64,
        complex64, complex128) or datetime64 or timedelta64, in any byte order and with any
        strides. It is only read.
    threads : int, optional
        How many CPU threads may stage the array, the caller's among them; by default, and at
        most, what `most_threads` says for an array of that size. None of them outlives the call.

    Returns
    -------
    ndarray
        A new array of the same dtype, equal to ``np.sort(a)``: NaN and NaT last. Float32 and
        float64 NaNs come back with their sign bit clear.

    Raises
    ------
    ValueError
        If `a` is not one-dimensional, or `threads` is below 1.
    TypeError
        If CuPy does not sort the dtype, the array is masked, or `threads` is not an integer.
    GpuUnavailable
        If there is no usable GPU.
    MemoryError
        If the GPU's memory is too small; the message has the bytes needed and free.

    Notes
    -----
    Calls from several threads take turns, since they would share the bus anyway. The pinned slots
    (12 MiB for each staging thread) are kept for the next call, see `free_pinned_buffers`. The
    GPU's memory goes back to CuPy's memory pool.
    """
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError("gpu_sort cannot sort masked arrays; pass a.compressed() instead")
    source = np.asarray(a)
    if source.ndim != 1:
        raise ValueError(f"gpu_sort needs a one-dimensional array, not {source.ndim} dimensions")
    dtype = _device_dtype(source.dtype)
    workers = most_threads(source.nbytes)
    if threads is not None:
        workers = min(workers, checked_threads(threads))
    cupy = require_cupy()
    result = np.empty(source.size, dtype=source.dtype)
    if not source.size:
        return result
    with _lock:
        try:
            lanes = _lanes_for(cupy, workers)
            # CuPy's pool keeps memory apart by stream, so what it hands out here was last used
            # by an earlier call, and that has ended.
            with lanes[0].stream:
                keys = cupy.empty(source.size, dtype=dtype)
            order = functools.partial(_sort_on_device, cupy, keys, source.dtype.kind)
            _Call(cupy, as_bits(source), as_bits(result), keys, order, lanes).run()
        except cupy.cuda.memory.OutOfMemoryError as error:
            raise memory_error(source.nbytes) from error
    return result


def most_threads(nbytes: int) -> int:
    """Return how many threads `gpu_sort` uses at most.

    Parameters
    ----------
    nbytes : int
        Size of the array.

    Returns
    -------
    int
        The usable CPUs, or fewer where more would take longer.
    """
    return min(usable_cpus(), max(1, math.isqrt(nbytes // _BYTES_PER_SQUARED_THREADS)))


def free_pinned_buffers() -> None:
    """Give back the pinned memory that `gpu_sort` keeps between calls."""
    with _lock:
        _lanes.clear()


def sorts_dtype(dtype: np.dtype[Any]) -> bool:
    """Tell whether `gpu_sort` sorts this dtype."""
    return dtype.kind in "mM" or dtype.char in _SORTABLE


class _Lane:
    """One staging thread's stream, pinned slots and their events, kept between calls."""

    def __init__(self, cupy: Any) -> None:
        cuda = cupy.cuda
        self.stream = cuda.Stream(non_blocking=True)
        self._pinned = cuda.PinnedMemoryPointer(cuda.PinnedMemory(_SLOTS * _PIECE_BYTES), 0)
        memory = np.frombuffer(self._pinned, dtype=np.uint8, count=_SLOTS * _PIECE_BYTES)
        self.slots = list(memory.reshape(_SLOTS, _PIECE_BYTES))
        self.addresses = [self._pinned.ptr + slot * _PIECE_BYTES for slot in range(_SLOTS)]
        self.events = [cuda.Event(disable_timing=True) for _ in range(_SLOTS)]
        self.sent = cuda.Event(disable_timing=True)


class _Call:
    """One call of `gpu_sort`: what its threads share.

    Parameters
    ----------
    cupy : module
    source, result : ndarray of shape (n,)
        Host arrays.
    keys : cupy.ndarray of shape (n,)
        Contiguous memory on the GPU, of the dtype to be sorted there.
    order : callable
        Sorts `keys` on the current stream.
    lanes : list of _Lane
        One for each thread.
    """

    def __init__(
        self,
        cupy: Any,
        source: _Array,
        result: _Array,
        keys: Any,
        order: Callable[[], None],
        lanes: list[_Lane],
    ) -> None:
        self._cupy = cupy
        self._runtime = cupy.cuda.runtime
        self._device = cupy.cuda.Device().id
        self._source = source
        self._result = result
        self._keys = keys
        self._order = order
        self._lanes = lanes
        self._share = -(-keys.size // len(lanes))
        self._sorted = cupy.cuda.Event(disable_timing=True)
        self._sorting = threading.Event()
        self._guard = threading.Lock()
        self._sending = len(lanes)
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Sort, and return when every thread has ended and every copy is done."""
        others = [
            threading.Thread(target=self._work, args=(index,), name=f"gpu_sort-{index}")
            for index in range(1, len(self._lanes))
        ]
        try:
            for thread in others:
                thread.start()
            self._work(0)
        except BaseException as error:
            self._fail(error)
        for thread in others:
            self._join(thread)
        if self._failure is not None:
            # The slots and the keys are used again, so no copy may be left under way.
            for lane in self._lanes:
                lane.stream.synchronize()
            raise self._failure

    def _join(self, thread: threading.Thread) -> None:
        # Ctrl-C asks the threads to stop, but may not leave one of them behind.
        while thread.is_alive():
            try:
                thread.join()
            except KeyboardInterrupt as error:
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._guard:
            self._failure = self._failure or error
        self._sorting.set()

    def _work(self, index: int) -> None:
        spans = self._spans(index * self._share, min((index + 1) * self._share, self._keys.size))
        try:
            with self._cupy.cuda.Device(self._device):
                self._send(self._lanes[index], spans)
                self._receive(self._lanes[index], spans)
        except BaseException as error:
            self._fail(error)

    def _spans(self, start: int, stop: int) -> list[slice]:
        """Return a share, cut into the fewest pieces that fit into slots, all of about one size."""
        pieces = -(-(stop - start) * self._keys.itemsize // _PIECE_BYTES)
        bounds = [start + (stop - start) * piece // pieces for piece in range(pieces)]
        return [slice(low, high) for low, high in pairwise([*bounds, stop])]

    def _send(self, lane: _Lane, spans: list[slice]) -> None:
        for number, span in enumerate(spans):
            if self._failure is not None:
                return
            if number >= _SLOTS:
                lane.events[number % _SLOTS].synchronize()
            np.copyto(self._slot(lane, number, span), self._source[span])
            self._copy(lane, number, span, upload=True)
        lane.sent.record(lane.stream)
        with self._guard:
            self._sending -= 1
            last = not self._sending
        if last:
            self._sort()

    def _sort(self) -> None:
        stream = self._lanes[0].stream
        for lane in self._lanes:
            stream.wait_event(lane.sent)
        with stream:
            self._order()
        self._sorted.record(stream)
        self._sorting.set()

    def _receive(self, lane: _Lane, spans: list[slice]) -> None:
        requested = False
        for span in spans:
            if not requested and self._sorting.is_set():
                self._request_first(lane, spans)
                requested = True
            if requested and lane.events[0].done:
                break
            # A write to each page, for it to be there when the sorted keys come.
            self._result[span].view(np.uint8)[:: mmap.PAGESIZE] = 0
        if not requested:
            self._sorting.wait()
            self._request_first(lane, spans)
        for number, span in enumerate(spans):
            if self._failure is not None:
                return
            lane.events[number % _SLOTS].synchronize()
            np.copyto(self._result[span], self._slot(lane, number, span))
            if number + _SLOTS < len(spans):
                self._copy(lane, number + _SLOTS, spans[number + _SLOTS], upload=False)

    def _request_first(self, lane: _Lane, spans: list[slice]) -> None:
        if self._failure is not None:
            return
        lane.stream.wait_event(self._sorted)
        for number, span in enumerate(spans[:_SLOTS]):
            self._copy(lane, number, span, upload=False)

    def _slot(self, lane: _Lane, number: int, span: slice) -> _Array:
        nbytes = (span.stop - span.start) * self._keys.itemsize
        slot: _Array = lane.slots[number % _SLOTS][:nbytes].view(self._keys.dtype)
        return slot

    def _copy(self, lane: _Lane, number: int, span: slice, upload: bool) -> None:
        """Start to copy a piece between its slot and the GPU."""
        runtime = self._runtime
        itemsize = self._keys.itemsize
        host = lane.addresses[number % _SLOTS]
        device = self._keys.data.ptr + span.start * itemsize
        target, source, kind = (
            (device, host, runtime.memcpyHostToDevice)
            if upload
            else (host, device, runtime.memcpyDeviceToHost)
        )
        nbytes = (span.stop - span.start) * itemsize
        runtime.memcpyAsync(target, source, nbytes, kind, lane.stream.ptr)
        lane.events[number % _SLOTS].record(lane.stream)


def _lanes_for(cupy: Any, count: int) -> list[_Lane]:
    kept = _lanes.setdefault(cupy.cuda.Device().id, [])
    while len(kept) < count:
        kept.append(_Lane(cupy))
    return kept[:count]


def _sort_on_device(cupy: Any, keys: Any, kind: str) -> None:
    if kind in "mM":
        bits = keys.view(np.uint64)
        bits += _NAT_LAST
        bits.sort()
        bits -= _NAT_LAST
        return
    if keys.dtype.char in "fd":
        # CuPy's radix sort orders bits, so a NaN with its sign bit set would come first.
        _clear_nan_signs(cupy)(keys.dtype.type(np.nan), keys)
    keys.sort()


@functools.cache
def _clear_nan_signs(cupy: Any) -> Any:
    return cupy.ElementwiseKernel("T nan", "T x", "if (x != x) x = nan", "clear_nan_signs")


def as_bits(a: _Array) -> _Array:
    """Return datetimes as the integers they are stored as, everything else as it is."""
    if a.dtype.kind not in "mM":
        return a
    return a.view(np.dtype(np.int64).newbyteorder(a.dtype.byteorder))


def _device_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if not sorts_dtype(dtype):
        raise TypeError(
            f"gpu_sort cannot sort dtype {dtype}: it sorts bool, integers, float16 to float64, "
            "complex64, complex128, datetime64 and timedelta64"
        )
    return np.dtype(np.int64) if dtype.kind in "mM" else dtype.newbyteorder("=")

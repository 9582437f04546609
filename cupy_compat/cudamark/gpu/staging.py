"""One array's way to the GPU and back: sorted there, with CPU threads that feed the bus.

A copy between ordinary (pageable) memory and the GPU runs at a fraction of the bus, because one
thread of the driver copies through a small page-locked buffer, and because each page of a fresh
result is zeroed when it is first touched. Here several threads copy the array piece by piece into
page-locked slots and send each piece as soon as it is there. When all have been sent, the caller's
thread starts the sort: it alone has called CUDA before, and a thread's first call costs more than
its share of the copying. Then they copy the pieces out as they arrive. Whenever a thread has to
wait for the GPU, it touches pages of the result.

The first pieces up and the last ones down are small: while they are copied the bus has nothing to
do. What is in page-locked memory already, or is to go there, takes one copy over the bus, and needs
no threads.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.gpu import driver, loops, pinned
from cupy_compat.cudamark.gpu.helper import Helper
from cupy_compat.cudamark.gpu.pinned import Lane

_FIRST_BYTES = 256 << 10

_Array = NDArray[Any]


class Trip:
    """The way of one array.

    Parameters
    ----------
    cupy : module
    source, result : ndarray of shape (n,), n >= 1
        Host arrays, which may share memory.
    keys : cupy.ndarray of shape (n,)
        Contiguous memory on the GPU, of the dtype to be sorted there.
    order : callable
        Sorts `keys` on the current stream.
    threads : int
        How many may stage.
    fresh : bool
        Whether the result's memory has not been used yet, and holds nothing of worth.
    """

    def __init__(
        self,
        cupy: Any,
        source: _Array,
        result: _Array,
        keys: Any,
        order: Callable[[], None],
        threads: int,
        fresh: bool,
    ) -> None:
        self._cupy = cupy
        self._device = cupy.cuda.Device().id
        self._calls = driver.load(cupy)
        self._place = driver.place(cupy)
        loops.compile_all(self._calls)
        self._source = source
        self._result = result
        self._keys = keys
        self._order = order
        self._sent_at_once = pinned.goes_as_it_is(cupy, source)
        self._received_at_once = pinned.goes_as_it_is(cupy, result)
        at_once = self._sent_at_once and self._received_at_once
        self._lanes = pinned.lanes(cupy, 1 if at_once else threads)
        self._fresh = loops.Fresh(
            np.uintp(result.ctypes.data),
            np.uintp(result.nbytes if fresh and not self._received_at_once else 0),
            np.zeros(1, np.int64),
        )
        self._up = _bounds(keys.size, keys.itemsize, len(self._lanes))
        self._down = keys.nbytes - self._up[::-1]
        self._next_up = np.zeros(1, np.int64)
        self._next_down = np.zeros(1, np.int64)
        self._state = np.zeros(3, np.uint8)
        self._sorted = cupy.cuda.Event(disable_timing=True)
        self._sorting = threading.Event()
        self._guard = threading.Lock()
        self._sending = len(self._lanes)
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Sort, and return when every thread has ended and every copy is done.

        Raises
        ------
        BaseException
            The first failure of a thread, or what interrupted this one. The result is whole if
            it shares memory with the source and the keys had been sorted.
        """
        # Not kept: they and this object would hold each other, and the arrays, until the garbage
        # is collected.
        helpers = [Helper(functools.partial(self._work, i)) for i in range(1, len(self._lanes))]
        try:
            for helper in helpers:
                helper.start()
            self._work(0)
        except BaseException as error:
            self._fail(error)
        for helper in helpers:
            # Ctrl-C asks the others to stop, but may not leave one of them behind.
            helper.join(self._fail)
        if self._failure is not None:
            # The slots and the keys are used again, so no copy may be left under way.
            for lane in self._lanes:
                lane.stream.synchronize()
            if self._state[loops.SORTED] and np.may_share_memory(self._source, self._result):
                # The source is overwritten in part. All of its keys are on the GPU.
                np.copyto(self._result, self._keys.get())
            raise self._failure

    def _fail(self, error: BaseException) -> None:
        with self._guard:
            self._failure = self._failure or error
        self._state[loops.FAILED] = 1
        self._sorting.set()

    def _work(self, index: int) -> None:
        lane = self._lanes[index]
        try:
            self._send(lane)
            with self._guard:
                self._sending -= 1
                if not self._sending:
                    self._state[loops.SENT] = 1
            if index == 0:
                self._await_sent(lane)
                if self._failure is None:
                    self._sort()
            self._receive(lane)
        except BaseException as error:
            self._fail(error)

    def _send(self, lane: Lane) -> None:
        if not self._sent_at_once and pinned.is_plain(self._source):
            self._loop(loops.send, lane.sent, self._source, self._up, self._next_up, lane)
            return
        with self._cupy.cuda.Device(self._device):
            if not self._sent_at_once:
                # NumPy puts the keys in the GPU's order on the way into the slot.
                self._send_converted(lane)
            elif lane is self._lanes[0]:
                kind = self._cupy.cuda.runtime.memcpyHostToDevice
                self._copy_at_once(self._keys.data.ptr, self._source.ctypes.data, kind)
            lane.sent.record(lane.stream)

    def _sort(self) -> None:
        stream = self._lanes[0].stream
        for lane in self._lanes:
            stream.wait_event(lane.sent)
        with stream:
            self._order()
        self._sorted.record(stream)
        self._state[loops.SORTED] = 1
        self._sorting.set()

    def _await_sent(self, lane: Lane) -> None:
        event = np.uintp(lane.sent.ptr)
        loops.await_state(loops.SENT, self._calls, event, self._fresh, self._state)

    def _receive(self, lane: Lane) -> None:
        if not self._received_at_once and pinned.is_plain(self._result):
            self._loop(loops.receive, self._sorted, self._result, self._down, self._next_down, lane)
            return
        self._sorting.wait()
        if self._failure is not None:
            return
        with self._cupy.cuda.Device(self._device):
            lane.stream.wait_event(self._sorted)
            if not self._received_at_once:
                self._receive_converted(lane)
            elif lane is self._lanes[0]:
                kind = self._cupy.cuda.runtime.memcpyDeviceToHost
                self._copy_at_once(self._result.ctypes.data, self._keys.data.ptr, kind)
                lane.stream.synchronize()

    def _copy_at_once(self, target: int, source: int, kind: int) -> None:
        stream = self._lanes[0].stream.ptr
        self._cupy.cuda.runtime.memcpyAsync(target, source, self._keys.nbytes, kind, stream)

    def _loop(
        self,
        loop: Callable[..., int],
        event: Any,
        host: _Array,
        bounds: NDArray[np.intp],
        counter: NDArray[np.int64],
        lane: Lane,
    ) -> None:
        error = loop(
            self._calls,
            self._place,
            np.uintp(event.ptr),
            np.uintp(host.ctypes.data),
            np.uintp(self._keys.data.ptr),
            bounds.view(np.uintp),
            counter,
            *lane.addresses,
            self._fresh,
            self._state,
        )
        driver.check(self._cupy, error)

    def _send_converted(self, lane: Lane) -> None:
        for number, span in enumerate(self._spans(self._up, self._next_up)):
            slot = number % len(lane.slots)
            if number >= len(lane.slots):
                lane.events[slot].synchronize()
            np.copyto(self._seen(lane.slots[slot], span), self._source[span])
            self._copy_piece(lane, slot, span, upload=True)

    def _receive_converted(self, lane: Lane) -> None:
        for span in self._spans(self._down, self._next_down):
            self._copy_piece(lane, 0, span, upload=False)
            lane.events[0].synchronize()
            np.copyto(self._result[span], self._seen(lane.slots[0], span))

    def _spans(self, bounds: NDArray[np.intp], counter: NDArray[np.int64]) -> Iterator[slice]:
        while self._failure is None:
            piece = loops.next_piece(counter)
            if piece >= len(bounds) - 1:
                return
            yield slice(*(bounds[piece : piece + 2] // self._keys.itemsize))

    def _seen(self, slot: NDArray[np.uint8], span: slice) -> _Array:
        """Return a slot as the keys of a piece."""
        keys: _Array = slot[: (span.stop - span.start) * self._keys.itemsize].view(self._keys.dtype)
        return keys

    def _copy_piece(self, lane: Lane, slot: int, span: slice, upload: bool) -> None:
        runtime = self._cupy.cuda.runtime
        host = lane.slots[slot].ctypes.data
        device = self._keys.data.ptr + int(span.start) * self._keys.itemsize
        nbytes = int(span.stop - span.start) * self._keys.itemsize
        if upload:
            way = (device, host, nbytes, runtime.memcpyHostToDevice)
        else:
            way = (host, device, nbytes, runtime.memcpyDeviceToHost)
        runtime.memcpyAsync(*way, lane.stream.ptr)
        lane.events[slot].record(lane.stream)


def _bounds(size: int, itemsize: int, threads: int) -> NDArray[np.intp]:
    """Cut keys into pieces: a small one for each thread, then twice as large ones, up to a slot's.

    Returns
    -------
    intp array, shape (pieces + 1,)
        Where the pieces begin and end, in bytes.
    """
    most = pinned.PIECE_BYTES // itemsize
    piece = min(_FIRST_BYTES // itemsize, most)
    bounds = [0]
    while bounds[-1] < size:
        for _ in range(threads):
            bounds.append(min(bounds[-1] + piece, size))
        piece = min(2 * piece, most)
    return np.unique(np.array(bounds, np.intp)) * itemsize

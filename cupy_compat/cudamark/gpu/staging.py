"""One array's way to the GPU and back: sorted there, with CPU threads that feed the bus.

A copy between ordinary (pageable) memory and the GPU runs at a fraction of the bus, because one
thread of the driver copies through a small page-locked buffer, and because each page of a fresh
result is zeroed when it is first touched. Here several threads copy the array piece by piece into
page-locked slots and send each piece as soon as it is there. When all have been sent, the caller's
thread starts the sort. Then they copy the pieces out as they arrive. Whenever a thread has to wait
for the GPU, it touches pages of the result.

The first pieces up and the last ones down are small: while they are copied the bus has nothing to
do. What is in page-locked memory already, or is to go there, takes one copy over the bus, and needs
no threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.crew import Crew
from cupy_compat.cudamark.gpu import driver, loops, native, pinned

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
        self._source = source
        self._result = result
        self._keys = keys
        self._order = order
        self._workers = threads
        # The bus moves bytes: keys with gaps between them, or of the other byte order, are copied.
        self._outgoing = source if pinned.is_plain(source) else self._copy_of(source)
        self._incoming = result if pinned.is_plain(result) else np.empty(keys.size, keys.dtype)
        self._sent_at_once = pinned.goes_as_it_is(cupy, self._outgoing)
        self._received_at_once = pinned.goes_as_it_is(cupy, self._incoming)
        at_once = self._sent_at_once and self._received_at_once
        self._lanes = pinned.lanes(cupy, 1 if at_once else threads)
        self._sorted = cupy.cuda.Event(disable_timing=True)
        self._shared = np.zeros(loops.SHARED, np.uintp)
        self._bounds = _bounds(keys.size, keys.itemsize, len(self._lanes))
        self._bounds_down = keys.nbytes - self._bounds[::-1]
        self._tasks = self._told(fresh or self._incoming is not result)
        first = self._tasks.ctypes.data
        self._addresses = np.arange(len(self._lanes), dtype=np.uintp) * loops.TASK.itemsize + first

    def _told(self, fresh: bool) -> NDArray[np.void]:
        """Return what each thread is told."""
        calls = driver.load(self._cupy)
        tasks = np.zeros(len(self._lanes), loops.TASK)
        common = {
            **calls._asdict(),
            "place": driver.place(self._cupy),
            "pause": native.pause(),
            "source": self._outgoing.ctypes.data,
            "result": self._incoming.ctypes.data,
            "keys": self._keys.data.ptr,
            "up": self._bounds.ctypes.data,
            "down": self._bounds_down.ctypes.data,
            "up_pieces": 0 if self._sent_at_once else len(self._bounds) - 1,
            "down_pieces": 0 if self._received_at_once else len(self._bounds) - 1,
            "fresh": self._incoming.ctypes.data,
            "fresh_bytes": self._incoming.nbytes if fresh and not self._received_at_once else 0,
            "shared": self._shared.ctypes.data,
            "threads": len(self._lanes),
            "sorted": self._sorted.ptr,
        }
        for name, value in common.items():
            tasks[name] = value
        for task, lane in zip(tasks, self._lanes, strict=True):
            for name, value in lane.told.items():
                task[name] = value
        return tasks

    def run(self) -> None:
        """Sort, and return when every thread has ended and every copy is done.

        Raises
        ------
        BaseException
            The first failure of a thread, or what interrupted this one. The result is whole if
            it shares memory with the source and the keys had been sorted.
        """
        try:
            if native.SUPPORTED:
                self._stage()
            else:
                self._stage_by_crew()
            for error in self._tasks["error"].tolist():
                driver.check(self._cupy, error)
            if self._incoming is not self._result:
                self._copy(self._result, self._incoming)
        except BaseException:
            # The slots and the keys are used again, so no copy may be left under way.
            for lane in self._lanes:
                lane.stream.synchronize()
            if self._shared[loops.SORTED] and np.may_share_memory(self._source, self._result):
                # The source is overwritten in part. All of its keys are on the GPU.
                np.copyto(self._result, self._keys.get())
            raise

    def _stage(self) -> None:
        mine, others = self._addresses[0], self._addresses[1:]
        threads = native.Threads(loops.send_and_receive(), others, memory=self)
        try:
            threads.start()
            self._send()
            loops.send(mine)
            loops.await_shared(mine, loops.SENT)
            self._sort()
            loops.receive(mine)
            self._receive()
            threads.join()
        except BaseException:
            # Ctrl-C, wherever it came, asks the others to stop, but may not leave one of them
            # behind.
            loops.tell(mine, loops.FAILED)
            threads.join()
            raise

    def _stage_by_crew(self) -> None:
        """Do the same with threads of Python's."""
        loops.compile_all()
        crew = Crew(len(self._lanes))
        self._send()
        crew.share(loops.send, self._addresses)
        self._sort()
        crew.share(loops.receive, self._addresses)
        self._receive()

    def _send(self) -> None:
        if self._sent_at_once:
            kind = self._cupy.cuda.runtime.memcpyHostToDevice
            self._copy_at_once(self._keys.data.ptr, self._outgoing.ctypes.data, kind)

    def _sort(self) -> None:
        if self._shared[loops.FAILED]:
            return
        stream = self._lanes[0].stream
        for lane in self._lanes:
            stream.wait_event(lane.sent)
        with stream:
            self._order()
        self._sorted.record(stream)
        loops.tell(self._addresses[0], loops.SORTED)

    def _receive(self) -> None:
        if self._received_at_once and not self._shared[loops.FAILED]:
            kind = self._cupy.cuda.runtime.memcpyDeviceToHost
            self._copy_at_once(self._incoming.ctypes.data, self._keys.data.ptr, kind)
            self._lanes[0].stream.synchronize()

    def _copy_at_once(self, target: int, source: int, kind: int) -> None:
        stream = self._lanes[0].stream.ptr
        self._cupy.cuda.runtime.memcpyAsync(target, source, self._keys.nbytes, kind, stream)

    def _copy_of(self, a: _Array) -> _Array:
        plain = np.empty(self._keys.size, self._keys.dtype)
        self._copy(plain, a)
        return plain

    def _copy(self, target: _Array, source: _Array) -> None:
        cuts = [source.size * i // self._workers for i in range(self._workers + 1)]
        Crew(self._workers).share(
            lambda span: np.copyto(target[span], source[span]),
            [slice(*ends) for ends in itertools.pairwise(cuts)],
        )


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

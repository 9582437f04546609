"""One array's way to the GPU and back: sorted there, with CPU threads that feed the bus.

A copy between ordinary (pageable) memory and the GPU runs at a fraction of the bus, because one
thread of the driver copies through a small page-locked buffer, and because each page of a fresh
result is zeroed when it is first touched. Here several threads copy the array piece by piece into
page-locked slots and send each piece as soon as it is there. When all have been sent, the caller's
thread starts the sort, bucket by bucket if `partition` has split the keys. The others copy the
pieces of each bucket out as they arrive. Whenever a thread has to wait for the GPU, it touches
pages of the result.

The first pieces up and the last ones down are small: while they are copied the bus has nothing to
do. What is in page-locked memory already, or is to go there, takes one copy over the bus for each
bucket, and needs no threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.crew import Crew
from cupy_compat.cudamark.gpu import driver, loops, native, pinned
from cupy_compat.cudamark.gpu.memory import Reservation
from cupy_compat.cudamark.gpu.order import tile_size
from cupy_compat.cudamark.gpu.partition import Partition

_FIRST_BYTES = 256 << 10

_Array = NDArray[Any]


class Trip:
    """The way of one array.

    Parameters
    ----------
    cupy : module
    resources : Resources
        Of the current GPU.
    source, result : ndarray of shape (n,), n >= 1
        Host arrays, which may share memory.
    reserved : Reservation
        For n keys or more, allocated on the resources's ``work`` stream.
    order : callable
        Sorts an array on the GPU in place, on the current stream.
    threads : int
        How many may stage.
    fresh : bool
        Whether the result's memory has not been used yet, and holds nothing of worth.
    nat_last : bool
        As for `sort_on_device`.

    Attributes
    ----------
    source : ndarray of shape (n,)
        Where all the keys are, also after a failure unless the GPU itself has failed.
    """

    def __init__(
        self,
        cupy: Any,
        resources: pinned.Resources,
        source: _Array,
        result: _Array,
        reserved: Reservation,
        order: Callable[[Any], None],
        threads: int,
        *,
        fresh: bool,
        nat_last: bool,
    ) -> None:
        self._cupy = cupy
        self._resources = resources
        self.source = source
        self._result = result
        self._reserved = reserved
        self._keys = reserved.keys[: source.size]
        self._order = order
        self._workers = threads
        # The bus moves bytes: keys with gaps between them, or of the other byte order, are copied.
        self._outgoing = source if pinned.is_plain(source) else self._copy_of(source)
        self._incoming = (
            result if pinned.is_plain(result) else np.empty(source.size, self._keys.dtype)
        )
        self._sent_at_once = pinned.goes_as_it_is(cupy, self._outgoing)
        self._received_at_once = pinned.goes_as_it_is(cupy, self._incoming)
        at_once = self._sent_at_once and self._received_at_once
        self._lanes = [] if at_once else resources.lanes(threads)
        self._partition = None
        if reserved.buckets:
            self._partition = Partition(cupy, reserved, nat_last)
        self._at_once = self._spans() if self._sent_at_once else []
        self._shared = np.zeros(loops.SHARED, np.uintp)
        self._sorted = np.array([event.ptr for event in resources.sorted], np.uintp)
        self._tasks = np.zeros(len(self._lanes), loops.TASK)
        first = self._tasks.ctypes.data
        self._addresses = np.arange(len(self._lanes), dtype=np.uintp) * loops.TASK.itemsize + first
        if self._lanes:
            self._bounds = _bounds(self._keys.size, self._keys.itemsize, len(self._lanes))
            self._fill_tasks(fresh or self._incoming is not result)

    def _spans(self) -> list[tuple[slice, Any]]:
        """Return the pieces that no thread stages, and the event of each one's arrival."""
        count = self._reserved.buckets or 1
        cuts = [self._keys.size * piece // count for piece in range(count + 1)]
        spans = [slice(*ends) for ends in itertools.pairwise(cuts)]
        return list(zip(spans, self._resources.arrived, strict=False))

    def _fill_tasks(self, fresh: bool) -> None:
        """Tell each thread what it is to do."""
        self._tasks[loops.OF_LANE] = [lane.own for lane in self._lanes]
        common = {
            **driver.load(self._cupy)._asdict(),
            "place": driver.place(self._cupy),
            "pause": native.pause(),
            "source": self._outgoing.ctypes.data,
            "result": self._incoming.ctypes.data,
            "keys": self._keys.data.ptr,
            "up": self._bounds.ctypes.data,
            "up_pieces": 0 if self._sent_at_once else len(self._bounds) - 1,
            "itemsize": self._keys.itemsize,
            "tile": tile_size(self._keys.dtype),
            "fresh": self._incoming.ctypes.data,
            "fresh_bytes": self._incoming.nbytes if fresh and not self._received_at_once else 0,
            "shared": self._shared.ctypes.data,
            "threads": len(self._lanes),
            "ready": self._resources.ready.ptr,
            "sorted": self._sorted.ctypes.data,
        }
        self._tasks[list(common)] = tuple(common.values())
        self._tasks["spans_at"] = self._addresses + loops.SPANS_OFFSET

    def run(self) -> None:
        """Sort, and return when every thread has ended and every copy is done.

        Raises
        ------
        MemoryError
            If CuPy gets no memory for its sort after all.
        BaseException
            The first failure of a thread, or what interrupted this one. If the result shares memory
            with the source, it holds all keys then: those of the GPU, if it has been written to.
        """
        work = self._resources.work
        try:
            if self._partition:
                with work:
                    self._reserved.filled.fill(0)
            self._resources.ready.record(work)
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
            for stream in (work, self._resources.bus, *(lane.stream for lane in self._lanes)):
                stream.synchronize()
            if self._shared[loops.SORTED] and np.may_share_memory(self.source, self._result):
                # The source is overwritten in part. All of its keys are on the GPU.
                np.copyto(self._result, self._keys.get())
                self.source = self._result
            raise

    def _stage(self) -> None:
        threads = native.Threads(loops.send_and_receive(), self._addresses[1:], memory=self)
        try:
            started = threads.start()
            # This thread does what threads would that the system has not started, too.
            mine = [*self._addresses[:1], *self._addresses[1 + started :]]
            self._send()
            self._plan()
            for address in mine:
                loops.send(address)
            for address in mine[:1]:
                loops.await_shared(address, loops.SENT, 1)
            self._sort()
            for address in mine:
                loops.receive(address)
            self._receive()
            threads.join()
        except BaseException:
            # Ctrl-C, wherever it came, asks the others to stop, but may not leave one of them
            # behind.
            self._publish(loops.FAILED)
            threads.join()
            raise

    def _stage_by_crew(self) -> None:
        """Do the same with threads of Python's."""
        loops.compile_all()
        crew = Crew(len(self._lanes))
        self._send()
        self._plan()
        crew.share(loops.send, self._addresses)
        self._sort()
        crew.share(loops.receive, self._addresses)
        self._receive()

    def _publish(self, item: int, value: int = 1) -> None:
        loops.publish(np.uintp(self._shared.ctypes.data), item, value)

    def _send(self) -> None:
        """Start the copies to the GPU that no thread stages."""
        bus, kind = self._resources.bus, self._cupy.cuda.runtime.memcpyHostToDevice
        bus.wait_event(self._resources.ready)
        for span, arrived in self._at_once:
            keys = self._keys[span]
            self._copy_at_once(keys.data.ptr, self._outgoing[span].ctypes.data, keys.nbytes, kind)
            arrived.record(bus)

    def _plan(self) -> None:
        """Choose the buckets, and have keys put into them as they arrive."""
        if self._partition and not self._partition.choose(self._outgoing):
            self._partition = None
        if self._partition:
            self._tasks["partition"] = self._partition.kernel
            self._tasks["plan_at"] = self._partition.plan.ctypes.data
        self._publish(loops.PLANNED)
        work = self._resources.work
        for span, arrived in self._at_once:
            work.wait_event(arrived)
            if self._partition:
                with work:
                    self._partition.add(self._keys[span])

    def _sort(self) -> None:
        """Sort bucket by bucket, and start the copies home that no thread stages."""
        if self._shared[loops.FAILED]:
            return
        work, bus = self._resources.work, self._resources.bus
        kind = self._cupy.cuda.runtime.memcpyDeviceToHost
        for lane in self._lanes:
            work.wait_event(lane.sent)
        buckets = self._partition.buckets(work) if self._partition else None
        buckets = buckets or [self._keys]
        edges = np.cumsum([0, *(bucket.size for bucket in buckets)], dtype=np.intp)
        for number, (bucket, start) in enumerate(zip(buckets, edges.tolist(), strict=False)):
            with work, self._reserved.serving(bucket.size):
                self._order(bucket)
            is_sorted = self._resources.sorted[number]
            is_sorted.record(work)
            if not number:
                self._cut(buckets, edges * self._keys.itemsize)
            self._publish(loops.SORTED, number + 1)
            if self._received_at_once:
                bus.wait_event(is_sorted)
                home = self._incoming[start:].ctypes.data
                self._copy_at_once(home, bucket.data.ptr, bucket.nbytes, kind)

    def _cut(self, buckets: list[Any], edges: NDArray[np.intp]) -> None:
        """Tell the threads what the pieces down are, each of one bucket."""
        if self._received_at_once:
            return
        origins = np.array([bucket.data.ptr for bucket in buckets], np.intp)
        self._down = np.empty((3, len(self._bounds) + len(buckets)), np.intp)
        pieces = loops.cut(self._bounds, edges, origins, self._down)
        for name, row in zip(("down", "origins", "buckets"), self._down, strict=True):
            self._tasks[name] = row.ctypes.data
        self._tasks["down_pieces"] = pieces

    def _receive(self) -> None:
        """Wait for the copies home that no thread stages."""
        if self._received_at_once:
            self._resources.bus.synchronize()

    def _copy_at_once(self, target: int, source: int, nbytes: int, kind: int) -> None:
        stream = self._resources.bus.ptr
        self._cupy.cuda.runtime.memcpyAsync(target, source, nbytes, kind, stream)

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
    first = min(_FIRST_BYTES // itemsize, most)
    doublings = (most // first).bit_length() - 1
    rounds = np.minimum(
        np.arange(size // most + threads * (doublings + 1) + 1) // threads, doublings
    )
    ends = np.cumsum(np.minimum(first << rounds, most))
    return np.append(0, np.append(ends[ends < size], size)) * itemsize

"""Sort one array on the GPU, with CPU threads that stage it in page-locked memory.

A plain copy between pageable memory and the GPU uses a fraction of the bus's bandwidth. A single
thread of the driver copies through a small page-locked buffer, and the system zeroes each page of a
new result.

Here several threads copy the array piece by piece into page-locked slots, and upload each piece as
soon as it is copied. Then the caller's thread starts the sort, bucket by bucket if `partition` has
split the keys. The other threads download the pieces of each sorted bucket, and copy them to the
result. Meanwhile, a thread that waits for the GPU touches pages of the result. The first pieces of
the upload and the last ones of the download are small, because the bus idles while they are copied.

Arrays in page-locked memory need no threads: each bucket is one copy over the bus.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.crew import Crew
from cupy_compat.cudamark.gpu import driver, loops, native, pinned
from cupy_compat.cudamark.gpu.memory import Reservation
from cupy_compat.cudamark.gpu.order import sort_on_device, tile_size
from cupy_compat.cudamark.gpu.partition import Partition

_FIRST_BYTES = 256 << 10

_Array = NDArray[Any]


@dataclass(eq=False)
class StagedSort:
    """A sort of host keys of shape (n,), n >= 1, into a result that may share memory with them."""

    cupy: Any
    resources: pinned.Resources
    """The resources of the current GPU."""
    source: _Array
    """The array that holds all keys, also after a failure, unless the GPU itself failed."""
    result: _Array
    reserved: Reservation
    """GPU memory for n keys or more, allocated on the stream `resources.work`."""
    threads: int
    """The maximum number of staging threads."""
    nat_last: bool
    """See `sort_on_device`."""
    fresh: bool = False
    """Whether the result is newly allocated, so that the system has yet to provide its pages."""

    def __post_init__(self) -> None:
        self._keys = self.reserved.keys[: self.source.size]
        # The bus transfers plain bytes. Copy keys that are not contiguous and native first.
        self._outgoing, self._incoming = self.source, self.result
        if not pinned.is_plain(self.source):
            self._outgoing = np.empty(self._keys.size, self._keys.dtype)
            self._copy(self._outgoing, self.source)
        if not pinned.is_plain(self.result):
            self._incoming = np.empty(self._keys.size, self._keys.dtype)
        self._direct_up = pinned.is_page_locked(self.cupy, self._outgoing)
        self._direct_down = pinned.is_page_locked(self.cupy, self._incoming)
        staged = not (self._direct_up and self._direct_down)
        self._buffers = self.resources.buffers(self.threads) if staged else []
        self._partition = None
        if self.reserved.buckets:
            self._partition = Partition(self.cupy, self.reserved, self.nat_last)
        self._shared = np.zeros(loops.SHARED, np.uintp)
        self._sorted = np.array([event.ptr for event in self.resources.sorted], np.uintp)
        self._tasks = np.zeros(len(self._buffers), loops.TASK)
        first, step = self._tasks.ctypes.data, loops.TASK.itemsize
        self._addresses = np.arange(len(self._buffers), dtype=np.uintp) * step + first
        if self._buffers:
            self._bounds = piece_bounds(self._keys.size, self._keys.itemsize, len(self._buffers))
            self._fill_tasks()

    def _fill_tasks(self) -> None:
        fresh = self.fresh or self._incoming is not self.result
        self._tasks[loops.PER_THREAD] = [buffers.addresses for buffers in self._buffers]
        common = {
            **driver.load(self.cupy)._asdict(),
            "context": driver.context(self.cupy),
            "yield_": native.yield_function(),
            "source": self._outgoing.ctypes.data,
            "result": self._incoming.ctypes.data,
            "keys": self._keys.data.ptr,
            "up": self._bounds.ctypes.data,
            "up_pieces": 0 if self._direct_up else len(self._bounds) - 1,
            "itemsize": self._keys.itemsize,
            "tile": tile_size(self._keys.dtype),
            "fresh": self._incoming.ctypes.data,
            "fresh_bytes": self._incoming.nbytes if fresh and not self._direct_down else 0,
            "shared": self._shared.ctypes.data,
            "threads": len(self._buffers),
            "ready": self.resources.ready.ptr,
            "sorted": self._sorted.ctypes.data,
        }
        self._tasks[list(common)] = tuple(common.values())
        self._tasks["spans_at"] = self._addresses + loops.SPANS_OFFSET

    def run(self) -> None:
        """Sort, and return when every thread has ended and every copy is complete.

        If this fails, a result that shares memory with the source is unchanged, or holds all keys.
        """
        work = self.resources.work
        try:
            if self._partition:
                with work:
                    self.reserved.filled.fill(0)
            self.resources.ready.record(work)
            self._stage()
            for error in self._tasks["error"].tolist():
                driver.check(self.cupy, error)
            if self._incoming is not self.result:
                self._copy(self.result, self._incoming)
        except BaseException:
            # The slots and the GPU memory will be used again, so wait for every copy.
            for stream in (work, self.resources.bus, *(one.stream for one in self._buffers)):
                stream.synchronize()
            if self._shared[loops.SORTED] and np.may_share_memory(self.source, self.result):
                # The source is partly overwritten. All of its keys are on the GPU.
                np.copyto(self.result, self._keys.get())
                self.source = self.result
            raise

    def _stage(self) -> None:
        threads = native.Threads(loops.send_and_receive(), self._addresses[1:], memory=self)
        try:
            started = threads.start()
            # This thread also does the work of threads that the system did not start.
            mine = [*self._addresses[:1], *self._addresses[1 + started :]]
            self._send()
            for address in mine:
                loops.send(address)
            for address in mine[:1]:
                loops.await_shared(address, loops.SENT, 1)
            self._sort()
            for address in mine:
                loops.receive(address)
            if self._direct_down:
                self.resources.bus.synchronize()
            threads.join()
        except BaseException:
            # Even after a Ctrl-C, make the threads stop, and leave none behind.
            self._publish(loops.FAILED)
            threads.join()
            raise

    def _publish(self, item: int, value: int = 1) -> None:
        loops.publish(np.uintp(self._shared.ctypes.data), item, value)

    def _send(self) -> None:
        """Start the direct uploads, and the splitting of the uploaded keys into buckets."""
        work, bus = self.resources.work, self.resources.bus
        pieces = []
        if self._direct_up:
            count = self.reserved.buckets or 1
            cuts = [self._keys.size * piece // count for piece in range(count + 1)]
            pieces = [slice(*ends) for ends in itertools.pairwise(cuts)]
        bus.wait_event(self.resources.ready)
        kind = self.cupy.cuda.runtime.memcpyHostToDevice
        for piece, arrived in zip(pieces, self.resources.arrived, strict=False):
            keys = self._keys[piece]
            self._copy_direct(keys.data.ptr, self._outgoing[piece].ctypes.data, keys.nbytes, kind)
            arrived.record(bus)
        if self._partition and not self._partition.choose(self._outgoing):
            self._partition = None
        if self._partition:
            self._tasks["partition"] = self._partition.kernel
            self._tasks["plan_at"] = self._partition.plan.ctypes.data
        self._publish(loops.PLANNED)
        for piece, arrived in zip(pieces, self.resources.arrived, strict=False):
            work.wait_event(arrived)
            if self._partition:
                with work:
                    self._partition.add(self._keys[piece])

    def _sort(self) -> None:
        """Sort bucket by bucket, and start the direct downloads."""
        if self._shared[loops.FAILED]:
            return
        work, bus = self.resources.work, self.resources.bus
        kind = self.cupy.cuda.runtime.memcpyDeviceToHost
        for buffers in self._buffers:
            work.wait_event(buffers.sent)
        buckets = self._partition.buckets(work) if self._partition else None
        buckets = buckets or [self._keys]
        edges = np.cumsum([0, *(bucket.size for bucket in buckets)], dtype=np.intp)
        for number, (bucket, start) in enumerate(zip(buckets, edges.tolist(), strict=False)):
            with work, self.reserved.using_work_space(bucket.size):
                sort_on_device(self.cupy, bucket, self.nat_last)
            is_sorted = self.resources.sorted[number]
            is_sorted.record(work)
            if not number and not self._direct_down:
                self._cut(buckets, edges * self._keys.itemsize)
            self._publish(loops.SORTED, number + 1)
            if self._direct_down:
                bus.wait_event(is_sorted)
                target = self._incoming[start:].ctypes.data
                self._copy_direct(target, bucket.data.ptr, bucket.nbytes, kind)

    def _cut(self, buckets: list[Any], edges: NDArray[np.intp]) -> None:
        """Cut the download into pieces for the threads, each from a single bucket."""
        origins = np.array([bucket.data.ptr for bucket in buckets], np.intp)
        self._down = np.empty((3, len(self._bounds) + len(buckets)), np.intp)
        pieces = loops.cut(self._bounds, edges, origins, self._down)
        for name, row in zip(("down", "origins", "buckets"), self._down, strict=True):
            self._tasks[name] = row.ctypes.data
        self._tasks["down_pieces"] = pieces

    def _copy_direct(self, target: int, source: int, nbytes: int, kind: int) -> None:
        stream = self.resources.bus.ptr
        self.cupy.cuda.runtime.memcpyAsync(target, source, nbytes, kind, stream)

    def _copy(self, target: _Array, source: _Array) -> None:
        parts = (np.array_split(a, self.threads) for a in (target, source))
        Crew(self.threads).share(lambda pair: np.copyto(*pair), zip(*parts, strict=True))


def piece_bounds(size: int, itemsize: int, threads: int) -> NDArray[np.intp]:
    """Cut keys into pieces: a small one for each thread, then twice as large ones, up to a slot.

    Returns the bounds of the pieces, in bytes, of shape (pieces + 1,).
    """
    most = pinned.PIECE_BYTES // itemsize
    first = min(_FIRST_BYTES // itemsize, most)
    doublings = (most // first).bit_length() - 1
    rounds = np.minimum(
        np.arange(size // most + threads * (doublings + 1) + 1) // threads, doublings
    )
    ends = np.cumsum(np.minimum(first << rounds, most))
    return np.append(0, np.append(ends[ends < size], size)) * itemsize

"""Native threads that run a C function, and no Python.

Python threads have to wait for the GIL, one after another, when they start and when they end.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.compiled import compiled
from cupy_compat.cudamark.gpu.driver import address_of
from cupy_compat.cudamark.gpu.intrinsics import call
from cupy_compat.cudamark.turns import compiling

_NOTHING = np.uintp(0)
# The C library caches 40 MB of stacks for later threads. The usual stacks of 8 MB would not fit:
# unmapping and mapping them again takes as long as starting the threads.
_STACK_BYTES = 1 << 20
_ATTRIBUTES_BYTES = 256  # pthread_attr_t has 64 or fewer
# A second Ctrl-C can keep a caller from joining its threads. Their memory must outlive them.
_not_joined: set[Threads] = set()


@compiled
def _start_all(
    create: Any,
    attributes: Any,
    function: Any,
    arguments: NDArray[np.uintp],
    threads: NDArray[np.uintp],
    started: NDArray[np.intp],
) -> None:
    while started[0] < len(arguments):
        thread = np.uintp(threads.ctypes.data) + np.uintp(started[0] * threads.itemsize)
        if call(create, (thread, attributes, function, arguments[started[0]])):
            return
        started[0] += 1


@compiled
def _join_all(join: Any, threads: NDArray[np.uintp], started: NDArray[np.intp]) -> None:
    while started[0]:
        started[0] -= 1
        call(join, (threads[started[0]], _NOTHING))


@compiling
def _compile() -> None:
    """Compile both loops, by calling them for no threads."""
    none, started = np.empty(0, np.uintp), np.zeros(1, np.intp)
    _start_all(_NOTHING, _NOTHING, _NOTHING, none, none, started)
    _join_all(_NOTHING, none, started)


class Threads:
    """Threads that each call the C function ``void *function(void *)`` with one of the arguments.

    `function` is its address, and `arguments` a uintp array of shape (n,). `memory` is an object
    that is kept alive until the threads are joined.
    """

    def __init__(self, function: np.uintp, arguments: NDArray[np.uintp], memory: object) -> None:
        _compile()
        self._function = function
        self._arguments = arguments
        self._memory = memory
        self._threads = np.zeros(len(arguments), np.uintp)
        self._started = np.zeros(1, np.intp)

    def start(self) -> int:
        """Start as many as the system allows, in order, and return how many; none on Windows."""
        if sys.platform == "win32":
            return 0
        _not_joined.add(self)
        create, attributes = _address("pthread_create"), np.uintp(ctypes.addressof(_attributes()))
        # A single compiled call, so that Ctrl-C cannot come between a start and its count.
        _start_all(
            create, attributes, self._function, self._arguments, self._threads, self._started
        )
        return int(self._started[0])

    def join(self) -> None:
        """Wait until all started threads have ended."""
        if self._started[0]:
            _join_all(_address("pthread_join"), self._threads, self._started)
        _not_joined.discard(self)


def yield_function() -> np.uintp:
    """Return the address of the C function that yields the processor; 0 on Windows."""
    return _NOTHING if sys.platform == "win32" else _address("sched_yield")


@functools.cache
def _address(name: str) -> np.uintp:
    return address_of(getattr(ctypes.CDLL(None), name))


@functools.cache
def _attributes() -> ctypes.Array[ctypes.c_char]:
    attributes = ctypes.create_string_buffer(_ATTRIBUTES_BYTES)
    library = ctypes.CDLL(None)
    library.pthread_attr_init(attributes)
    library.pthread_attr_setstacksize(attributes, ctypes.c_size_t(_STACK_BYTES))
    return attributes

"""Threads of the system that run a C function, and no Python.

A thread of Python's has to be given the GIL before it begins and again before it ends, one thread
after the other: `docs/cudamark.md` tells what that costs a sort of some milliseconds.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.compiled import compiled
from cupy_compat.cudamark.gpu.driver import address_of, call
from cupy_compat.cudamark.turns import compiling

SUPPORTED = sys.platform != "win32"
"""Whether there are POSIX threads."""
_NOTHING = np.uintp(0)
# The C library keeps 40 MB of stacks for the next threads, and makes and unmaps all others of 8 MB
# each, which takes as long as starting the threads does.
_STACK_BYTES = 1 << 20
_ATTRIBUTES_BYTES = 256  # pthread_attr_t has 64 or fewer
# Whoever presses Ctrl-C twice can keep a caller from joining its threads, but their memory is kept.
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
    """Compile (or load from disk) both, by starting and joining no threads."""
    none, started = np.empty(0, np.uintp), np.zeros(1, np.intp)
    _start_all(_NOTHING, _NOTHING, _NOTHING, none, none, started)
    _join_all(_NOTHING, none, started)


class Threads:
    """Some threads, which have all ended when `join` has returned.

    Parameters
    ----------
    function : uintp
        Address of a C function, ``void *function(void *)``.
    arguments : uintp array, shape (n,)
        What each of n threads calls it with.
    memory : object
        What they work on, which is kept until they are joined.
    """

    def __init__(self, function: np.uintp, arguments: NDArray[np.uintp], memory: object) -> None:
        _compile()
        self._function = function
        self._arguments = arguments
        self._memory = memory
        self._threads = np.zeros(len(arguments), np.uintp)
        self._started = np.zeros(1, np.intp)

    def start(self) -> int:
        """Start as many as the system lets, without waiting for any.

        Returns
        -------
        int
            How many have been started, with the first of the arguments.
        """
        _not_joined.add(self)
        create, attributes = _address("pthread_create"), np.uintp(ctypes.addressof(_attributes()))
        # One call, which Ctrl-C cannot part: what has been started is counted.
        _start_all(
            create, attributes, self._function, self._arguments, self._threads, self._started
        )
        return int(self._started[0])

    def join(self) -> None:
        """Wait until all that were started have ended."""
        _join_all(_address("pthread_join"), self._threads, self._started)
        _not_joined.discard(self)


def pause() -> np.uintp:
    """Return where a C function stands that lets other threads work, if there are any to.

    It takes no arguments and may be given some, as C's callers may. Where there are no POSIX
    threads no thread waits for another, and this is 0.
    """
    return _address("sched_yield") if SUPPORTED else _NOTHING


@functools.cache
def _address(name: str) -> np.uintp:
    """Return where a function of the C library stands."""
    return address_of(getattr(ctypes.CDLL(None), name))


@functools.cache
def _attributes() -> ctypes.Array[ctypes.c_char]:
    """Return the attributes that threads are started with."""
    attributes = ctypes.create_string_buffer(_ATTRIBUTES_BYTES)
    library = ctypes.CDLL(None)
    library.pthread_attr_init(attributes)
    library.pthread_attr_setstacksize(attributes, ctypes.c_size_t(_STACK_BYTES))
    return attributes

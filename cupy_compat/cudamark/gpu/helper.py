"""A thread that is started without waiting for it.

`threading.Thread.start` returns when the new thread runs, and the caller could have worked in the
meantime: `docs/cudamark.md` tells what a sort gains by it.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable


class Helper:
    """A thread for one piece of work, which has to see to its own failures.

    Parameters
    ----------
    work : callable
        Called without arguments in the new thread; what it raises goes to `sys.unraisablehook`.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._working = _thread.allocate_lock()
        self._threads: list[int] = []

    def start(self) -> None:
        """Start the thread.

        Raises
        ------
        RuntimeError
            If the system has no thread left.
        """
        self._working.acquire()
        # One call, which Ctrl-C cannot part: there is a thread and it is known, or there is none.
        self._threads.extend(map(_thread.start_new_thread, [self._run], [()]))

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._working.release()

    def join(self, interrupted: Callable[[BaseException], object]) -> None:
        """Wait until the work is done, if it was begun.

        Parameters
        ----------
        interrupted : callable
            Told of each Ctrl-C meanwhile; the waiting goes on.
        """
        waiting = bool(self._threads)
        while waiting:
            try:
                with self._working:
                    waiting = False
            except KeyboardInterrupt as error:
                interrupted(error)

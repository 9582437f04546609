"""Other libraries that sort the same keys: how to call each, and what it needs.

The keys are converted to the library's own container beforehand. The timed call makes a sorted
copy. If the library sorts in place, copying is timed, too. ``torch.sort`` always computes indices,
too.

Before anything is measured, each library is tried in a process of its own. What it loads, starts or
reserves must not disturb other measurements, and some libraries end the process if they cannot
start.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.inputs import make_input
from cupy_compat.cudamark.options import BadArgument
from cupy_compat.cudamark.threads import usable_cpus

_Array = NDArray[Any]
_KEYS_TRIED = 1 << 17
_MIN_MEMORY_MIB = 256
_UNUSABLE, _REFUSED = 3, 4
_MAX_MESSAGE = 300


class ContenderError(RuntimeError):
    """A library that is missing, cannot be imported, or failed; the message names it."""


@dataclass(frozen=True)
class Task:
    """Keys in a library's own container, ready to be sorted.

    `to_numpy` converts the result of `sort` to an ndarray, outside the timed region. `threads` is
    the maximum number of CPU threads according to the library, None if it does not say. `device`,
    ``cpu`` or ``gpu``, is where it sorts.
    """

    sort: Callable[[], Any]
    to_numpy: Callable[[Any], _Array] = lambda result: result
    threads: int | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Contender:
    """A library that sorts, by its names for ``--with``, pip and Python.

    `load` takes the module and keys of shape (n,), and returns a `Task`. Beside the keys and the
    result, a sort was seen to allocate `copies` times the keys, and `indices` bytes a key. The
    library reads the environment `variables` when it is imported. In their values, ``{cpus}`` is
    the number of usable CPUs and ``{memory}`` `copies` times the keys, in MiB. If it `takes_gpus`
    by itself, the variables prevent that.
    """

    name: str
    distribution: str
    module: str
    load: Callable[[Any, _Array], Task]
    copies: int
    indices: int
    variables: Mapping[str, str] = field(default_factory=dict)
    takes_gpus: bool = False


def _load_polars(polars: Any, keys: _Array) -> Task:
    series = polars.Series(keys)
    # It stores days in 32 bits, for example, and reports no error if they do not fit.
    if not np.array_equal(series.to_numpy(), keys):
        raise TypeError("a Series does not keep these keys")
    return Task(series.sort, lambda result: result.to_numpy(), polars.thread_pool_size())


def _load_torch(torch: Any, keys: _Array) -> Task:
    torch.set_num_threads(usable_cpus())
    sort = partial(torch.sort, torch.from_numpy(keys))
    return Task(sort, lambda result: result.values.numpy(), torch.get_num_threads())


def _load_parallel_sort(parallel_sort: Any, keys: _Array) -> Task:
    return Task(partial(parallel_sort.sort, keys))


def _load_quill(quill: Any, keys: _Array) -> Task:
    sort_in_place = getattr(quill, f"parallel_sort_{keys.dtype.kind}{8 * keys.itemsize}")

    def sort() -> _Array:
        result = keys.copy()
        sort_in_place(result)
        return result

    return Task(sort)


def _load_cupynumeric(cupynumeric: Any, keys: _Array) -> Task:
    legate = importlib.import_module("legate.core")
    runtime, machine = legate.get_legate_runtime(), legate.get_machine()

    def finished(result: Any) -> Any:
        # Its calls return before the work is done.
        runtime.issue_execution_fence(block=True)
        return result

    array = finished(cupynumeric.array(keys))
    kind, cpu, gpu = machine.preferred_target, legate.TaskTarget.CPU, legate.TaskTarget.GPU
    return Task(
        lambda: finished(cupynumeric.sort(array)),
        lambda result: result.__array__(),
        machine.count(cpu) if kind == cpu else None,
        "gpu" if kind == gpu else "cpu",
    )


# Legate needs "--gpus 0" to start without a GPU, and frees nothing before its memory is full. The
# last option suppresses warnings about the others.
_LEGATE = "--gpus 0 --cpus {cpus} --sysmem {memory} --logging gpu=none,threads=error"

CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender(
            "polars", "polars", "polars", _load_polars, 2, 1, {"POLARS_MAX_THREADS": "{cpus}"}
        ),
        Contender("torch", "torch", "torch", _load_torch, 1, 20),
        Contender("parallel-sort", "parallel-sort", "parallel_sort", _load_parallel_sort, 2, 1),
        Contender("quill", "quill-fastsort-parallel", "quill_fastsort_parallel", _load_quill, 4, 1),
        Contender(
            *("cupynumeric", "nvidia-cupynumeric", "cupynumeric", _load_cupynumeric, 8, 30),
            variables={"LEGATE_CONFIG": _LEGATE},
            takes_gpus=True,
        ),
    )
}
"""The libraries of ``--with``, by name."""


def chosen(names: Iterable[str]) -> list[Contender]:
    """Return the contenders of these names, in this order.

    Raises `BadArgument` for an unknown or repeated name, `ContenderError` with what to install.
    """
    found: list[Contender] = []
    for name in names:
        if name not in CONTENDERS:
            known = ", ".join(CONTENDERS)
            raise BadArgument(f"argument --with: {name!r} is none of {known}")
        if CONTENDERS[name] in found:
            raise BadArgument(f"argument --with: {name!r} is given twice")
        found.append(CONTENDERS[name])
    for contender in found:
        if importlib.util.find_spec(contender.module) is None:
            raise ContenderError(
                f"{contender.name} is not installed: pip install {contender.distribution}"
            )
    return found


def set_variables(contenders: Iterable[Contender], nbytes: int, on_gpu: bool) -> None:
    """Set the libraries' environment variables for `nbytes` of keys, unless the user has set them.

    With `on_gpu` the libraries may use GPUs.
    """
    for contender in contenders:
        if on_gpu and contender.takes_gpus:
            continue
        memory = max(contender.copies * nbytes >> 20, _MIN_MEMORY_MIB)
        for variable, value in contender.variables.items():
            os.environ.setdefault(variable, value.format(cpus=usable_cpus(), memory=memory))


def refusal(contender: Contender, size: int, dtype: np.dtype[Any]) -> str | None:
    """Return in one line why a contender does not sort keys of a dtype, or None if it does.

    A new process tries it with up to 131,072 keys. If that process cannot import the library, this
    raises `ContenderError`.
    """
    # The process has to import the same library as this one, and the same copy of this module.
    code = (
        "import sys; name, size, dtype, *sys.path = sys.argv[1:]\n"
        f"from {__name__} import try_out; del sys.path[0]; try_out(name, int(size), dtype)"
    )
    here = str(Path(__file__).parents[len(__name__.split(".")) - 1])
    # Not just a few: torch was seen to sort few unsigned keys, and to refuse more.
    keys = [str(min(size, _KEYS_TRIED)), str(dtype)]
    command = [sys.executable, "-c", code, contender.name, *keys, here, *sys.path]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return None
    if done.returncode in (_UNUSABLE, _REFUSED):
        reason = done.stdout.splitlines()[-1]
    else:
        # The library ended the process. Its error output is the only hint.
        reason = textwrap.shorten(done.stderr, _MAX_MESSAGE) or f"exit code {done.returncode}"
    if done.returncode == _REFUSED:
        return reason
    raise ContenderError(f"{contender.name} cannot be used: {reason}")


def try_out(name: str, size: int, dtype: str) -> None:
    """Sort keys; if that fails, print the reason as the last line and end the process."""
    contender = CONTENDERS[name]
    failed = _UNUSABLE
    try:
        importlib.import_module(contender.module)
        failed = _REFUSED
        keys = make_input("uniform", size, np.dtype(dtype), 0)
        task = load(contender, keys)
        result = task.to_numpy(task.sort())
        if result.dtype != keys.dtype:
            raise TypeError(f"it returns {result.dtype}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # polars raises panics as BaseException
        print(f"\n{one_line(error)}", flush=True)
        sys.exit(failed)


def load(contender: Contender, keys: _Array) -> Task:
    """Import a contender and give it the keys, of shape (n,); call this in the main thread."""
    handler = signal.getsignal(signal.SIGINT)
    task = contender.load(importlib.import_module(contender.module), keys)
    # Legate replaces Python's handler of Ctrl-C by one that ends the process.
    signal.signal(signal.SIGINT, handler)
    return task


def version(contender: Contender) -> str | None:
    """Return the version of an imported contender, None if it does not say."""
    found = getattr(sys.modules[contender.module], "__version__", None)
    return None if found is None else str(found)


@contextmanager
def output_to_stderr() -> Iterator[None]:
    """Redirect what libraries print within the block to standard error, away from the table."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def one_line(error: BaseException) -> str:
    """Return a library's error in one line."""
    text = str(error)
    # Legate's message is a page long. Its line "#0" states the error.
    reason = re.search(r"#0 (.+)", text)
    lines = [reason[1]] if reason else [line for line in text.splitlines() if line.strip()]
    return textwrap.shorten(": ".join([type(error).__name__, *lines[:1]]), _MAX_MESSAGE)

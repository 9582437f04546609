"""What a program that uses ``cupy_compat`` may write: type checkers must accept every line."""

from typing import Any, Literal, assert_type

import numpy as np
from numpy.typing import NDArray

import cupy_compat
from cupy_compat import Status, install, status, uninstall
from cupy_compat.cudamark import free_pinned_buffers, gpu_sort, threaded_sort, warm_up

assert_type(install(), Status)
assert_type(install(force=True), Status)
uninstall()
record: cupy_compat.Status = status()
assert_type(record.state, Literal["inactive", "armed", "healthy", "repaired"])
assert_type(record.cupy, str | None)
assert_type(cupy_compat.__version__, str)

keys = np.arange(10, dtype=np.int32)
assert_type(threaded_sort([1, 2]), NDArray[Any])
assert_type(threaded_sort(keys, threads=np.int64(2)), NDArray[Any])
assert_type(gpu_sort([1.0, 2.0], threads=2), NDArray[Any])
assert_type(warm_up("float64"), float)
assert_type(warm_up(keys.dtype), float)
free_pinned_buffers()

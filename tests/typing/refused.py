"""Mistakes that type checkers must find: the errors named on each line, and no others."""

import cupy_compat.cudamark
from cupy_compat import instal  # refused: attr-defined reportAttributeAccessIssue
from cupy_compat.cudamark import thread_sort  # refused: attr-defined reportAttributeAccessIssue

cupy_compat.install(forced=True)  # refused: call-arg reportCallIssue
cupy_compat.status().state = "armed"  # refused: misc reportAttributeAccessIssue
print(cupy_compat.status().state == "mended")  # refused: comparison-overlap
cupy_compat.cudamark.threaded_sort([1, 2], threads="2")  # refused: arg-type reportArgumentType
cupy_compat.cudamark.warm_up()  # refused: call-arg reportCallIssue
print(instal, thread_sort)

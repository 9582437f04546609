import cupy as cp
import numpy as np
from time import perf_counter

# What everybody has: a sort "with 1, 2, 4 ... threads" on a GPU. Its first line is what counts
# here, so nothing in this file knows of a shim.
SIZE = 1_000_000
THREADS = (1, 2, 4, 8)


def main():
    """Sort the same keys for each count of threads, and print a table."""
    print("imported CuPy", cp.__version__, flush=True)
    keys = np.random.default_rng(0).integers(0, 2**31, SIZE, dtype=np.int32)
    wanted = np.sort(keys)
    print("threads  milliseconds")
    for threads in THREADS:
        start = perf_counter()
        found = cp.asnumpy(cp.sort(cp.array(keys)))
        print(f"{threads:7d}  {(perf_counter() - start) * 1e3:12.2f}", flush=True)
        assert np.array_equal(found, wanted)


if __name__ == "__main__":
    main()

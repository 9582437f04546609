"""Polynomials on the GPU, with one kernel for each degree."""

import cupy_compat

# The call stops import sorters from moving CuPy above it. It also runs if imports are lazy
# (Python 3.15).
cupy_compat.install()

import cupy  # noqa: E402

__all__ = ["evaluate", "source"]


@cupy.memoize()
def source(degree: int) -> str:
    """Return the body of the kernel for polynomials of a degree, by Horner's rule."""
    steps = "".join(f" y = y * x + c[{power}];" for power in reversed(range(degree)))
    return f"y = c[{degree}];{steps}"


@cupy.memoize(for_each_device=True)
def _kernel(degree: int) -> cupy.ElementwiseKernel:
    return cupy.ElementwiseKernel("raw T c, T x", "T y", source(degree), f"polynomial_{degree}")


def evaluate(coefficients: list[float], x: cupy.ndarray) -> cupy.ndarray:
    """Return the polynomial's values.

    Parameters
    ----------
    coefficients : list of float
        The coefficients of the powers of x, constant first.
    x : cupy.ndarray
        The points at which to evaluate; its dtype is floating.
    """
    return _kernel(len(coefficients) - 1)(cupy.asarray(coefficients, dtype=x.dtype), x)

"""The tests of the library, for any CuPy."""

import gpupoly

# Keep this order: a broken CuPy must be imported after the library.
# isort: split
import cupy
import numpy as np
import pytest


def has_gpu() -> bool:
    try:
        return cupy.cuda.is_available()
    except cupy.cuda.runtime.CUDARuntimeError:  # without a driver
        return False


def test_a_kernels_source_is_made_once_and_keeps_its_name() -> None:
    assert gpupoly.source(2) == "y = c[2]; y = y * x + c[1]; y = y * x + c[0];"
    assert gpupoly.source(2) is gpupoly.source(2)
    assert gpupoly.source.__name__ == "source"
    assert gpupoly.source.__doc__.startswith("Return the body of the kernel")


@pytest.mark.skipif(not has_gpu(), reason="no GPU")
def test_a_polynomial_has_the_values_that_numpy_computes() -> None:
    x = np.linspace(-1, 1, 1000)
    values = gpupoly.evaluate([1.0, 0.0, -1.0], cupy.asarray(x))
    np.testing.assert_allclose(values.get(), 1 - x**2)

"""Finding a GPU, its memory, and the order that it sorts in. CuPy here is made up."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cupy_compat
from cupy_compat.cudamark.dtypes import number_type
from cupy_compat.cudamark.gpu import GpuUnavailable, device, memory, order


class CUDARuntimeError(Exception):
    """As CuPy's."""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Have CuPy looked for anew; yield how the shim was asked for."""
    asked: list[bool] = []
    monkeypatch.setattr(cupy_compat, "install", lambda force=False: asked.append(force))
    device.load_cupy.cache_clear()
    yield asked
    device.load_cupy.cache_clear()


def made_up(fails: Callable[[str], None] = lambda step: None, devices: int = 1) -> Any:
    """Return a CuPy with some devices, which calls ``fails`` before each step."""

    class Keys:
        def __init__(self, keys: np.ndarray) -> None:
            assert keys.tolist() == [1, 0]
            assert keys.dtype == np.int32
            fails("asarray")
            self.keys = keys.copy()

        def sort(self) -> None:
            fails("sort")
            self.keys.sort()

        def get(self) -> np.ndarray:
            fails("get")
            return self.keys

    def count() -> int:
        fails("count")
        return devices

    current = types.SimpleNamespace(id=1, mem_info=(3000, 9000))
    cupy: Any = types.ModuleType("cupy")
    cupy.__version__ = "14.5.6"
    cupy.asarray = Keys
    cupy.cuda = types.SimpleNamespace(
        Device=lambda: current,
        runtime=types.SimpleNamespace(
            getDeviceCount=count,
            getDeviceProperties=lambda number: {"name": f"GPU number {number}".encode()},
            driverGetVersion=lambda: 13000,
            runtimeGetVersion=lambda: 12990,
        ),
    )
    return cupy


def use(monkeypatch: pytest.MonkeyPatch, cupy: Any) -> None:
    monkeypatch.setitem(sys.modules, "cupy", cupy)


def test_a_working_gpu_is_described(
    monkeypatch: pytest.MonkeyPatch, fresh: list[bool], tmp_path: Path
) -> None:
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(device, "time", types.SimpleNamespace(perf_counter=lambda: next(clock)))
    version = tmp_path / "version"
    version.write_text("NVRM version: NVIDIA Kernel Module  580.159.04  Tue\nGCC 12.2\n")
    monkeypatch.setattr(device, "Path", lambda path: version)
    steps: list[str] = []
    use(monkeypatch, made_up(steps.append))
    found = device.find_gpu()
    assert dataclasses.asdict(found) == {
        "gpu_name": "GPU number 1",
        "gpu_memory_bytes": 9000,
        "driver_version": "580.159.04",
        "cuda_driver_version": "13.0",
        "cuda_runtime_version": "12.99",
        "cupy_version": "14.5.6",
        "gpu_startup_seconds": 2.5,
    }
    assert steps == ["count", "asarray", "sort", "get"]
    assert fresh == [True], "the shim is armed, whatever the policy"


@pytest.mark.parametrize("text", [None, "no number here"])
def test_an_unknown_driver_version_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "version"
    if text:
        file.write_text(text)
    monkeypatch.setattr(device, "Path", lambda path: file)
    use(monkeypatch, made_up())
    assert device.find_gpu().driver_version is None


def test_cupy_is_imported_once(monkeypatch: pytest.MonkeyPatch, fresh: list[bool]) -> None:
    use(monkeypatch, made_up())
    assert device.require_cupy() is device.require_cupy() is sys.modules["cupy"]
    assert len(fresh) == 1


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import that_is_missing", "CuPy cannot be imported: ModuleNotFoundError: No module named"),
        (
            "raise ImportError('=====\\n\\n  libcublas is missing\\nat length')",
            "^CuPy cannot be imported: ImportError: libcublas is missing$",
        ),
        ("raise AttributeError", "CuPy cannot be imported: AttributeError$"),
    ],
)
def test_an_import_error_of_cupy_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, text: str
) -> None:
    (tmp_path / "cupy.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    with pytest.raises(GpuUnavailable, match=text):
        device.load_cupy()


def test_a_missing_cupy_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, None)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(GpuUnavailable, match=r"^CuPy is not installed: install the package for"):
        device.load_cupy()


@pytest.mark.parametrize(
    ("step", "said", "reported"),
    [
        (
            "count",
            "cudaErrorInsufficientDriver: driver version is insufficient",
            "no CUDA driver, or one too old for this CuPy (cudaErrorInsufficientDriver); "
            "check with nvidia-smi",
        ),
        (
            "count",
            "cudaErrorNoDevice: none is there",
            "CUDARuntimeError: cudaErrorNoDevice: none is there; check with nvidia-smi",
        ),
        *(
            (step, "cudaErrorUnknown: odd", "it fails with CUDARuntimeError: cudaErrorUnknown: odd")
            for step in ("asarray", "sort", "get")
        ),
    ],
)
def test_a_failing_gpu_is_unusable_and_its_error_reported(
    monkeypatch: pytest.MonkeyPatch, step: str, said: str, reported: str
) -> None:
    def fails(at: str) -> None:
        if at == step:
            raise CUDARuntimeError(said)

    use(monkeypatch, made_up(fails))
    with pytest.raises(GpuUnavailable) as caught:
        device.find_gpu()
    assert str(caught.value) == f"no usable GPU: {reported}"


def test_no_device_says_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, made_up(devices=0))
    with pytest.raises(GpuUnavailable, match=r"CUDA finds none; check CUDA_VISIBLE_DEVICES$"):
        device.find_gpu()


# Memory


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Return CuPy's pool, which holds 300 bytes of which 100 are free; 1000 more are."""
    held = types.SimpleNamespace(limit=0, used=200)
    cupy = types.SimpleNamespace(
        cuda=types.SimpleNamespace(Device=lambda: types.SimpleNamespace(mem_info=(1000, 9000))),
        get_default_memory_pool=lambda: types.SimpleNamespace(
            free_bytes=lambda: 100, used_bytes=lambda: held.used, get_limit=lambda: held.limit
        ),
    )
    monkeypatch.setattr(memory, "load_cupy", lambda: cupy)
    return held


def test_free_memory_respects_the_pools_limit(
    pool: types.SimpleNamespace,
) -> None:
    assert memory.free_bytes() == 1100
    pool.limit = 5000
    assert memory.free_bytes() == 1100
    pool.limit = 700
    assert memory.free_bytes() == 500
    assert memory.largest_sort() == int(500 / (2 + 1 / 16))


def test_cupys_sorts_need_keys_result_and_work_space(pool: types.SimpleNamespace) -> None:
    most = 359  # 359 * (3 + 1/16) is 1099.4
    memory.require_memory(most)
    with pytest.raises(MemoryError) as caught:
        memory.require_memory(most + 1)
    assert str(caught.value) == (
        "not enough GPU memory to sort 360 bytes: 1,102 bytes needed, 1,100 free"
    )
    pool.limit = 200 + 1099
    memory.require_memory(most)


# The order


class ByBits(np.ndarray[Any, Any]):
    """``cupy.ndarray`` as far as its sort goes: floats by their bits, so some NaN come first."""

    def sort(self) -> None:  # type: ignore[override]
        plain = self.view(np.ndarray)
        if plain.dtype.kind == "f":
            negative = np.signbit(plain)
            first = np.sort(plain[np.isnan(plain) & negative])
            rest = np.sort(plain[~(np.isnan(plain) & negative)])
            plain[:] = np.concatenate([first, rest])
        else:
            plain.sort()


def kernel(inputs: str, outputs: str, code: str, name: str) -> Callable[[Any, Any], None]:
    assert (inputs, outputs, code) == ("T nan", "T x", "if (x != x) x = nan")

    def run(nan: np.floating, keys: Any) -> None:
        assert nan.dtype == keys.dtype
        keys[np.isnan(keys)] = nan

    return run


#: A CuPy that sorts or says that it could not.
RIGHT: Any = types.SimpleNamespace(__version__="14.1.0")


@pytest.mark.parametrize(
    ("version", "may"),
    [("13.4.1", True), ("14.0.0a1", True), ("14.0.1", True), ("14.1.0", False), ("15.0", False)],
)
def test_a_cupy_before_14_1_may_sort_incorrectly(version: str, may: bool) -> None:
    assert order._may_sort_wrongly(version) is may


@pytest.mark.parametrize(
    "dtype", ["?", "i1", "u2", "f2", "i4", "f4", "u8", "f8", "c8", "c16", "M8[s]"]
)
def test_ranks_are_in_numpys_order(dtype: str) -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 256, 80_000, dtype=np.uint8)
    keys = bits.view(dtype) if dtype != "?" else bits > 127
    kind = keys.dtype.kind
    if kind in "fc":
        special = [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1.0, -1.0]
        keys = np.concatenate([keys, np.array(special, dtype)])
    if kind == "c":
        halves = np.array([complex(1, np.nan), complex(np.nan, 1)], dtype)
        keys = np.concatenate([keys, halves])
    if kind == "M":
        keys[::9] = np.datetime64("NaT", "s")
    ranks = order.rank(np.sort(keys).view(number_type(keys.dtype)), nat_last=kind == "M")
    assert ranks.dtype.kind == "u"
    assert (ranks[:-1] <= ranks[1:]).all()
    if kind != "c":
        values = np.sort(keys)
        same = (values[:-1] == values[1:]) | ((values != values)[:-1] & (values != values)[1:])
        assert ((ranks[:-1] == ranks[1:]) == same).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_negative_nan_comes_last(dtype: str) -> None:
    keys = np.array([2, -np.nan, 1, np.nan, -np.inf], dtype)
    assert np.signbit(keys[1])
    on_device = keys.view(ByBits)
    cupy: Any = types.ModuleType("cupy")
    cupy.__version__ = "14.1.0"
    made: list[object] = []
    cupy.ElementwiseKernel = lambda *words: made.append(words) or kernel(*words)
    for _ in range(2):
        order.sort_on_device(cupy, on_device, nat_last=False)
        np.testing.assert_array_equal(np.asarray(on_device), np.sort(keys))
    assert len(made) == 1, "it is compiled once"


@pytest.mark.parametrize("dtype", ["M8[s]", "m8[ns]"])
def test_nat_comes_last_and_extremes_stay_distinct(dtype: str) -> None:
    least, most = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    numbers = np.array([0, most, least, -1, least + 1, most - 1, 1, least], np.int64)
    keys = numbers.copy()
    order.sort_on_device(RIGHT, keys.view(ByBits), nat_last=True)
    np.testing.assert_array_equal(keys.view(dtype), np.sort(numbers.view(dtype)))


def test_integers_are_sorted_by_cupy_as_they_are() -> None:
    keys = np.array([3, np.iinfo(np.int64).min, 2], np.int64)
    order.sort_on_device(RIGHT, keys.view(ByBits), nat_last=False)
    assert keys.tolist() == [np.iinfo(np.int64).min, 2, 3]


@pytest.mark.parametrize(
    ("dtype", "there"),
    [
        *[(kind, kind) for kind in ("?", "i1", "u8", "f2", "f4", "f8", "c8", "c16")],
        *[(">i4", "i4"), (">f8", "f8"), ("M8[s]", "i8"), (">m8[ns]", "i8")],
    ],
)
def test_device_dtypes_are_native_and_sortable(dtype: str, there: str) -> None:
    assert order.sorts_dtype(np.dtype(dtype))
    assert order.device_dtype(np.dtype(dtype)) == np.dtype(there)
    assert order.device_dtype(np.dtype(dtype)).isnative


@pytest.mark.parametrize("dtype", ["O", "S3", "U2", "V4", [("x", "i4")]])
def test_dtypes_that_cupy_does_not_sort_are_refused(dtype: str) -> None:
    assert not order.sorts_dtype(np.dtype(dtype))
    with pytest.raises(TypeError, match="gpu_sort cannot sort dtype"):
        order.device_dtype(np.dtype(dtype))

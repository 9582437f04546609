"""`gpu_sort`: equal to ``np.sort``, safe with threads, clear about bad input.

What needs a GPU is skipped where CuPy finds none; the rest runs anywhere.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from conftest import assert_that_no_more, missing_gpu, threads_of_the_system
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cupy_compat.cudamark import free_pinned_buffers, gpu_sort
from cupy_compat.cudamark.gpu import (
    GpuUnavailable,
    driver,
    native,
    order,
    page_locked,
    partition,
    pinned,
    staging,
)
from cupy_compat.cudamark.gpu.device import load_cupy

pytestmark = pytest.mark.usefixtures("no_thread_left")
on_gpu = pytest.mark.gpu
without_gpu = pytest.mark.skipif(not missing_gpu(), reason="there is a usable GPU")

PIECE = pinned.PIECE_BYTES
SIZES = [0, 1, 2, 3, 1009, 2**10 - 1, 2**10, 2**10 + 1, 2**20 - 1, 2**20, 2**20 + 1, 9_999_991]
DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]
THREADS = [None, 1, 2, 3, 8, 128]
#: Waits for so many cycles, and then writes.
BUSY = """extern "C" __global__ void busy(int* a, long long size, long long cycles) {
    long long start = clock64();
    while (clock64() - start < cycles) {}
    for (long long i = threadIdx.x; i < size; i += blockDim.x) a[i] = -7;
}"""


def keys_of(dtype: str, size: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype).kind
    if kind == "c":
        return (rng.standard_normal(size) + 1j * rng.standard_normal(size)).astype(dtype)
    if kind == "f":
        return rng.standard_normal(size).astype(dtype)
    nbytes = size * np.dtype(dtype).itemsize
    raw = rng.integers(0, 256, nbytes, dtype=np.uint8)
    return raw.astype(bool)[:size] & (raw > 127)[:size] if kind == "b" else raw.view(dtype)


def staging_buffers() -> list[pinned.StagingBuffers]:
    """Return the slots that are kept for the next call on the current GPU."""
    (kept,) = pinned.kept[load_cupy().cuda.Device().id]
    return kept.staging


@pytest.fixture(params=["whole", "in value buckets"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have keys sorted as a whole, or split by value even if they are few."""
    few = 1 << 60 if request.param == "whole" else 1 << 10
    monkeypatch.setattr(partition, "BUCKET_BYTES", few)


def in_order(a: np.ndarray) -> np.ndarray:
    """Return the sorted keys. NumPy's default sort leaves some float16 arrays unsorted."""
    return np.sort(a, kind="stable" if a.dtype == np.float16 else None)


def assert_sorted_as_numpy_does(a: np.ndarray, threads: int | None = None) -> None:
    before = a.copy()
    result = gpu_sort(a, threads)
    expected = in_order(np.asarray(a))
    assert type(result) is np.ndarray
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(a, before)


@on_gpu
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threads", THREADS)
def test_every_size_is_sorted_with_every_number_of_threads(size: int, threads: int | None) -> None:
    assert_sorted_as_numpy_does(keys_of("i4", size), threads)


@on_gpu
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_sorted(dtype: str) -> None:
    assert_sorted_as_numpy_does(keys_of(dtype, 3_000_017))


@on_gpu
@pytest.mark.parametrize("pieces", [1, 2, 3, 4, 7, 24, 25])
@pytest.mark.parametrize("extra", [-4, 0, 4])
def test_no_key_is_lost_between_pieces(pieces: int, extra: int) -> None:
    assert_sorted_as_numpy_does(keys_of("i4", (pieces * PIECE + extra) // 4), 3)


@on_gpu
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_nan_of_either_sign_comes_last_and_no_signed_zero_is_lost(dtype: str) -> None:
    special = np.array([np.nan, np.copysign(np.nan, -1), np.inf, -np.inf, 0.0, -0.0], dtype)
    a = np.concatenate([np.repeat(special, 1000), keys_of(dtype, 1_500_000)])
    np.random.default_rng(1).shuffle(a)
    result = gpu_sort(a)
    assert_sorted_as_numpy_does(a)
    assert np.isnan(result[-2000:]).all()
    assert np.sum(np.signbit(result[result == 0])) == np.sum(np.signbit(a[a == 0]))


@on_gpu
@pytest.mark.usefixtures("way")
def test_complex_nans_come_in_numpys_order() -> None:
    parts = [0.0, 1.0, -1.0, np.inf, np.nan]
    a = np.array([complex(x, y) for x in parts for y in parts] * 50, np.complex128)
    np.random.default_rng(2).shuffle(a)
    expected = np.sort(a)
    result = gpu_sort(a)
    np.testing.assert_array_equal(result.real, expected.real)
    np.testing.assert_array_equal(result.imag, expected.imag)


@on_gpu
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", ["M8[s]", "m8[ns]", ">M8[us]"])
def test_nat_comes_last(dtype: str) -> None:
    bits = keys_of("i8", 1_200_000)
    bits[::100] = np.iinfo(np.int64).min
    bits[1::100] = np.iinfo(np.int64).max
    bits[2::100] = np.iinfo(np.int64).min + 1
    native = np.dtype(dtype).newbyteorder("=")
    a = bits.view(native).astype(dtype)
    assert_sorted_as_numpy_does(a)


@on_gpu
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", [">i2", ">i4", ">u8", ">f4", ">f8", ">c16"])
def test_big_endian_input_is_sorted_by_value_and_stays_big_endian(dtype: str) -> None:
    assert_sorted_as_numpy_does(keys_of(dtype.replace(">", ""), 1_500_001).astype(dtype))


@on_gpu
@pytest.mark.parametrize("step", [2, 3, -1, -2])
def test_strided_input_is_sorted(step: int) -> None:
    assert_sorted_as_numpy_does(keys_of("i4", 6_000_000)[::step], 4)


@on_gpu
def test_unaligned_and_broadcast_input_is_sorted() -> None:
    raw = np.zeros(4 * 2_000_000 + 1, np.uint8)
    unaligned = raw[1:].view("i4")
    unaligned[:] = keys_of("i4", 2_000_000)
    assert_sorted_as_numpy_does(unaligned)
    assert_sorted_as_numpy_does(np.broadcast_to(np.int32(7), 2_000_000))


@on_gpu
def test_read_only_input_is_sorted() -> None:
    a = keys_of("f8", 1_000_000)
    a.flags.writeable = False
    assert_sorted_as_numpy_does(a)


@on_gpu
def test_a_memory_mapped_file_is_sorted_into_a_copy(tmp_path: Path) -> None:
    keys = keys_of("i4", 3_000_000)
    path = tmp_path / "keys"
    keys.tofile(path)
    mapped = np.memmap(path, dtype="i4", mode="r")
    assert_sorted_as_numpy_does(mapped)
    assert path.read_bytes() == keys.tobytes()


@on_gpu
@pytest.mark.usefixtures("way")
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    dtype=st.sampled_from([*DTYPES[:-2], ">i4", ">f8", "M8[s]"]),
    size=st.integers(0, 3000),
    seed=st.integers(0, 2**32),
    values=st.integers(1, 5000),
    step=st.sampled_from([1, 2, -1]),
    threads=st.sampled_from(THREADS),
    small=st.booleans(),
)
def test_any_input_is_sorted_as_numpy_does(
    dtype: str, size: int, seed: int, values: int, step: int, threads: int | None, small: bool
) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 256, 8 * max(size, 1), dtype=np.uint8)
    native = np.dtype(dtype).newbyteorder("=")
    pool = (bits > 127 if native.kind == "b" else bits.view(native))[:values]
    a = pool[rng.integers(0, len(pool), size)].astype(dtype)[::step]
    if not small:
        assert_sorted_as_numpy_does(a, threads)
        return
    # Pieces of 4 KiB make many of them out of few keys. The slots are made in that size, too.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pinned, "PIECE_BYTES", 4096)
        free_pinned_buffers()
        assert_sorted_as_numpy_does(a, threads)
    free_pinned_buffers()


@on_gpu
@pytest.mark.usefixtures("way")
def test_concurrent_calls_are_right() -> None:
    arrays = [keys_of("i4", 2_000_000 + 17 * i, seed=i) for i in range(6)]
    results: dict[int, np.ndarray] = {}

    def work(index: int) -> None:
        for _ in range(3):
            results[index] = gpu_sort(arrays[index], 4)

    callers = [threading.Thread(target=work, args=(index,)) for index in range(len(arrays))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for index, a in enumerate(arrays):
        np.testing.assert_array_equal(results[index], np.sort(a))


@on_gpu
def test_freed_pinned_buffers_are_allocated_again() -> None:
    a = keys_of("i4", 5_000_000)
    gpu_sort(a)
    free_pinned_buffers()
    assert not staging_buffers()
    assert_sorted_as_numpy_does(a)


@pytest.fixture
def little_memory() -> Iterator[int]:
    """Let CuPy have so many bytes of each GPU."""
    cupy = load_cupy()
    devices = range(cupy.cuda.runtime.getDeviceCount())
    nbytes = 8 << 20
    before = []
    for device in devices:
        with cupy.cuda.Device(device):
            pool = cupy.get_default_memory_pool()
            pool.free_all_blocks()
            before.append(pool.get_limit())
            pool.set_limit(size=nbytes)
    yield nbytes
    for device in devices:
        with cupy.cuda.Device(device):
            cupy.get_default_memory_pool().set_limit(size=before[device])


@on_gpu
@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("dtype", ["i4", "f4", "u8", "f8", ">i4", "M8[s]", "f2", "c8"])
@pytest.mark.parametrize("threads", [None, 1])
def test_keys_that_do_not_fit_are_sorted(dtype: str, threads: int | None) -> None:
    bits = keys_of("i8", 5_000_000)
    keys = bits.view("M8[s]") if dtype == "M8[s]" else keys_of(dtype.strip(">"), bits.size)
    a = keys.astype(dtype)
    assert_sorted_as_numpy_does(a, threads)
    itself = a.copy()
    assert gpu_sort(itself, threads, out=itself) is itself
    np.testing.assert_array_equal(itself, in_order(a))
    locked, out = (page_locked(a.size, a.dtype) for _ in range(2))
    np.copyto(locked, a)
    gpu_sort(locked, threads, out=out)
    np.testing.assert_array_equal(out, in_order(a))


@on_gpu
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", [*DTYPES, "M8[s]"])
@pytest.mark.parametrize("size", [2, 30_000, 3_000_017])
def test_no_memory_is_requested_after_keys_are_sent(
    monkeypatch: pytest.MonkeyPatch, dtype: str, size: int
) -> None:
    """Else another process could have taken it: some CuPys then end the process, or go wrong."""
    cupy = load_cupy()
    keys = keys_of("i8", size)
    a = keys.view(dtype) if dtype == "M8[s]" else keys_of(dtype, size)
    asked: list[int] = []

    def refuse(nbytes: int) -> None:
        asked.append(nbytes)
        raise MemoryError

    run = staging.StagedSort.run

    def refused(self: staging.StagedSort) -> None:
        with cupy.cuda.using_allocator(refuse):
            run(self)

    monkeypatch.setattr(staging.StagedSort, "run", refused)
    assert_sorted_as_numpy_does(a)
    assert not asked


@on_gpu
@pytest.mark.parametrize("dtype", [*DTYPES, "M8[s]"])
def test_wrong_order_is_detected_on_old_cupys(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    cupy, nat_last = load_cupy(), dtype == "M8[s]"
    keys = cupy.asarray(keys_of("i8" if nat_last else dtype, 300_000))
    if keys.dtype.kind in "fc":
        keys[:: keys.size // 7] = np.nan
    monkeypatch.setattr(order, "_may_sort_wrongly", lambda version: True)
    order.sort_on_device(cupy, keys, nat_last)
    keys[0] = keys[-1]
    with pytest.raises(MemoryError, match="work space for its sort"):
        order._check_order(cupy, keys, nat_last)


@on_gpu
@pytest.mark.parametrize("dtype", ["b", "u2", "f2", "i4", "f4", "i8", "f8", "c8", "c16", "M8[s]"])
def test_value_buckets_take_every_dtype(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    monkeypatch.setattr(partition, "BUCKET_BYTES", 1 << 10)
    found: list[int] = []
    find = partition.Partition.buckets

    def note(self: partition.Partition, stream: Any) -> Any:
        buckets = find(self, stream)
        found.append(len(buckets))
        return buckets

    monkeypatch.setattr(partition.Partition, "buckets", note)
    keys = keys_of("i8", 3_000_017)
    a = keys.view(dtype) if dtype == "M8[s]" else keys_of(dtype, keys.size)
    assert_sorted_as_numpy_does(a)
    locked, out = (page_locked(a.size, a.dtype) for _ in range(2))
    np.copyto(locked, a)
    gpu_sort(locked, out=out)
    np.testing.assert_array_equal(out, in_order(a))
    assert found == [order.BUCKETS] * 2


@on_gpu
@pytest.mark.usefixtures("way")
def test_freeing_pinned_memory_does_not_grow_gpu_memory() -> None:
    cupy = load_cupy()
    pool, a = cupy.get_default_memory_pool(), keys_of("i4", 5_000_000)
    pool.free_all_blocks()
    held, others = [], []
    for _ in range(4):
        gpu_sort(a)
        free_pinned_buffers()
        held.append(pool.total_bytes())
        # So that no later stream gets the address of an earlier one.
        others.append(cupy.cuda.Stream(non_blocking=True))
    assert len(set(held)) == 1


@on_gpu
@pytest.mark.usefixtures("way")
@pytest.mark.filterwarnings("ignore:cupy.cuda.MemoryAsyncPool:FutureWarning")
def test_memory_of_a_busy_stream_is_not_written_to() -> None:
    cupy = load_cupy()
    a = keys_of("i4", 3_000_000)
    busy = cupy.RawKernel(BUSY, "busy")
    user = cupy.cuda.Stream(non_blocking=True)
    with cupy.cuda.using_allocator(cupy.cuda.MemoryAsyncPool().malloc):
        for _ in range(3):
            with user:
                taken = cupy.empty(4 * a.size, np.int32)
                busy((64,), (256,), (taken, taken.size, 100_000_000))
                del taken
            np.testing.assert_array_equal(gpu_sort(a), np.sort(a))
        user.synchronize()


@on_gpu
def test_a_sort_stays_within_the_pools_limit(little_memory: int) -> None:
    pool = load_cupy().get_default_memory_pool()
    a = keys_of("f8", 20_000_000)
    assert_sorted_as_numpy_does(a)
    assert 0 < pool.total_bytes() <= little_memory


@on_gpu
@pytest.mark.parametrize("dtype", ["i4", "f8", "?", "f2", "M8[s]"])
@pytest.mark.parametrize("threads", [None, 1, 16])
def test_page_locked_memory_is_not_staged(dtype: str, threads: int | None) -> None:
    keys = keys_of("i8", 3_000_017)
    keys = keys.view(dtype) if dtype == "M8[s]" else keys_of(dtype, 3_000_017)
    a, out = (page_locked(keys.size, keys.dtype) for _ in range(2))
    np.copyto(a, keys)
    free_pinned_buffers()
    assert gpu_sort(a[:1], out=out[:1]).tolist() == a[:1].tolist()
    assert gpu_sort(a, threads, out=out) is out
    np.testing.assert_array_equal(out, in_order(keys))
    assert not staging_buffers()


@on_gpu
def test_page_locked_memory_is_detected() -> None:
    cupy = load_cupy()
    memory = cupy.cuda.alloc_pinned_memory(8000)
    by_cupy = np.frombuffer(memory, np.int64, 1000)
    ordinary = np.zeros(1000, np.int64)
    assert pinned.is_page_locked(cupy, by_cupy)
    assert not pinned.is_page_locked(cupy, ordinary)
    large = np.zeros(1 << 20, np.uint8)
    cupy.cuda.runtime.hostRegister(large.ctypes.data, large.nbytes // 2, 0)
    try:
        assert pinned.is_page_locked(cupy, large[: large.size // 2])
        assert not pinned.is_page_locked(cupy, large)
    finally:
        cupy.cuda.runtime.hostUnregister(large.ctypes.data)


@on_gpu
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", [*DTYPES, ">i4", ">c16"])
def test_out_takes_the_result(dtype: str) -> None:
    a = keys_of(dtype.strip(">"), 2_000_003).astype(dtype)
    expected = in_order(a)
    roomy = np.empty(2 * a.size, dtype)
    for out in (np.empty_like(a), roomy[::2], roomy[::-2]):
        assert gpu_sort(a, out=out) is out
        np.testing.assert_array_equal(out, expected)
    gpu_sort(a, out=a)
    np.testing.assert_array_equal(a, expected)


@on_gpu
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize(("owner", "name"), [(staging, "sort_on_device"), (native.Threads, "join")])
def test_a_failure_in_the_callers_thread_loses_no_key_and_leaves_no_thread(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, error: type[BaseException]
) -> None:
    a = keys_of("i4", 30_000_000)
    itself = a.copy()
    real, failures = getattr(owner, name), iter([error("planted")])

    def fail(*arguments: object) -> None:
        for failure in failures:
            if name == "join":
                itself[: a.size // 2] = 0
            raise failure
        real(*arguments)

    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(error, match="planted"):
        gpu_sort(itself, 4, out=itself)
    np.testing.assert_array_equal(np.sort(itself), in_order(a))
    assert_sorted_as_numpy_does(a, 4)


@on_gpu
@pytest.mark.parametrize("way", ["upload", "download"])
def test_an_error_of_the_driver_reaches_the_caller_and_loses_no_key(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    a = keys_of("i4", 30_000_000)
    itself = a.copy()
    refuse = numba.cfunc("int32(uintp, uintp, uintp, uintp)")(
        lambda target, source, nbytes, stream: 1
    )
    calls = driver.load(load_cupy())._replace(**{way: np.uintp(refuse.address)})
    with monkeypatch.context() as patch:
        patch.setattr(driver, "load", lambda cupy: calls)
        with pytest.raises(load_cupy().cuda.driver.CUDADriverError, match="INVALID_VALUE"):
            gpu_sort(itself, 4, out=itself)
    np.testing.assert_array_equal(np.sort(itself), in_order(a))
    assert_sorted_as_numpy_does(a, 4)


@on_gpu
def test_no_thread_of_the_system_is_left() -> None:
    a = keys_of("i4", 3_000_000)
    gpu_sort(a, 8)  # CUDA has threads of its own
    before = threads_of_the_system()
    for _ in range(10):
        gpu_sort(a, 8)
    assert_that_no_more(threads_of_the_system, before)


@without_gpu
def test_without_a_gpu_the_error_says_why_and_what_to_do() -> None:
    with pytest.raises(GpuUnavailable, match=r"nvidia-smi|CuPy is not installed|CuPy cannot be"):
        gpu_sort(np.zeros(3))


@pytest.mark.parametrize("shape", [(), (2, 2), (0, 3)])
def test_any_array_that_is_not_one_dimensional_is_a_value_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one-dimensional"):
        gpu_sort(np.zeros(shape))


@pytest.mark.parametrize(
    "dtype", ["O", "U3", "S3", "V4", [("x", "i4")], *(["g"] if np.dtype("g") != "f8" else [])]
)
def test_a_dtype_that_cupy_does_not_sort_is_a_type_error(dtype: object) -> None:
    with pytest.raises(TypeError, match="cannot sort dtype"):
        gpu_sort(np.zeros(3, dtype=dtype))


def test_a_masked_array_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="masked"):
        gpu_sort(np.ma.masked_array([2, 1], [True, False]))


@pytest.mark.parametrize("threads", [0, -1, np.int64(0)])
def test_a_thread_count_below_one_is_a_value_error(threads: int) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        gpu_sort(np.zeros(3), threads)


@pytest.mark.parametrize("threads", [1.0, "2", True, np.True_, [1]])
def test_a_non_integer_thread_count_is_a_type_error(threads: object) -> None:
    with pytest.raises(TypeError, match="must be an integer"):
        gpu_sort(np.zeros(3), threads)

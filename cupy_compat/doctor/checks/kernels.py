"""Checks: kernels do not compile or load (compiler, headers, architecture, cache)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..machine import Machine
from ._check import Check, Details

_HEADERS = re.compile(
    r"(vector_types|cuda_fp16|cuda_bf16|cuda_fp8|cuda_runtime|cuda_runtime_api|crt/\w+)\.h$"
)
_PARTS = re.compile(
    r"(thrust|cub|cuda|nv|cooperative_groups|cute|cutlass)/|(curand|cooperative|mma|cufft|cublas)\w*\.h"
)


def _header(*kinds: str) -> Details:
    def details(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
        name = words["header"]
        if _HEADERS.match(name):
            kind = "runtime"
        elif name.startswith("cupy/"):
            kind = "cupy"
        else:
            kind = "cuda" if _PARTS.match(name) else "host"
        return {"header": name} if kind in kinds else None

    return details


_OPEN = ('cannot open source file "{/header}"', 'could not open source file "{/header}"')

KERNELS = (
    Check(
        "hiprtc-headers",
        "HIPRTC does not find standard headers",
        "ROCm's compiler for kernels does not find C headers such as `{header}`. This CuPy does "
        "not support this version of ROCm. It is not an error in the program.",
        (
            "Use the CuPy for this ROCm: upgrade CuPy, or build the newest one with ROCM_HOME set.",
            "Otherwise, report it to CuPy with the versions of ROCm and CuPy.",
        ),
        says=("fatal error: '{header}' file not found",),
        needs=("hiprtc", "comgr", "hip_runtime"),
        example="/opt/rocm/include/hip/hip_runtime.h:1:10: fatal error: 'stddef.h' file not found",
        source="cupy/cupy#9718",
        group="compile",
    ),
    Check(
        "rocm-device-library",
        "ROCm's compiler does not find its device libraries",
        "The compiler needs ROCm's device libraries and does not find them.",
        (
            "Install the package rocm-device-libs, and set ROCM_PATH (or ROCM_HOME) to ROCm's "
            "folder.",
        ),
        says=("cannot find ROCm device library",),
        example="clang: error: cannot find ROCm device library; provide its path via '--rocm-path'",
        source="read in clang",
        printed=True,
        group="compile",
    ),
    Check(
        "hip-architecture",
        "this CuPy, or ROCm, was not built for this AMD GPU",
        "The GPU code is for other architectures than this GPU's. `rocminfo | grep gfx` shows the "
        "architecture.",
        (
            "Build CuPy with HCC_AMDGPU_TARGET set to this GPU's architecture (for example "
            "`gfx90a`).",
            "If ROCm supports only a similar GPU, try HSA_OVERRIDE_GFX_VERSION.",
        ),
        says=(
            "hipErrorNoBinaryForGpu",
            "unsupported HIP gpu architecture",
            "invalid target ID 'gfx",
            "hipErrorInvalidDeviceFunction",
            "offload-arch{*}gfx{*}error",
        ),
        example="hipErrorNoBinaryForGpu: Unable to find code object for all current devices!",
        source="pytorch/pytorch#53738",
        printed=True,
    ),
    Check(
        "hiprtc",
        "HIPRTC did not compile a kernel",
        "ROCm's compiler for kernels rejects the source. Its messages follow the exception.",
        (
            "Use the CuPy for this ROCm: upgrade CuPy, or build the newest one with ROCM_HOME set.",
            "If the messages show a kernel of your own, correct it: HIPRTC differs from NVRTC.",
        ),
        says=("HIPRTC_ERROR_{name}", "HIPRTC_ERROR "),
        example="cupy_backends.cuda.libs.nvrtc.NVRTCError: HIPRTC_ERROR_COMPILATION (6)",
        source="cupy/cupy#9718",
        after=("compile", "hip-architecture"),
    ),
    Check(
        "mixed-nvrtc",
        "NVRTC does not find its builtins",
        "NVRTC consists of two libraries, which must have the same version. The second one, "
        "nvrtc-builtins, is missing, or another NVRTC was loaded. Wheels of PyTorch and NVIDIA "
        "contain their own NVRTC.",
        (
            "Remove the folders of other CUDA versions from LD_LIBRARY_PATH (on Windows, PATH), "
            "and install the complete toolkit: {toolkit}.",
            "If you use PyTorch, use the same CUDA version for both.",
        ),
        says=("failed to open {*}nvrtc-builtins", "nvrtc: error: failed to load builtins"),
        example="cupy.cuda.compiler.CompileException: nvrtc: error: failed to open "
        "libnvrtc-builtins.so.12.9.",
        source="cupy/cupy#4396",
        group="compile",
    ),
    Check(
        "builtins",
        "NVRTC fails on its builtins",
        "NVRTC could not load its second library, nvrtc-builtins, which is missing or has another "
        "version.",
        ("Install the complete CUDA toolkit, and use one version of it.",),
        says=("NVRTC_ERROR_BUILTIN_OPERATION_FAILURE", "NVRTC_ERROR unknown (7)"),
        example="cupy_backends.cuda.libs.nvrtc.NVRTCError: NVRTC_ERROR_BUILTIN_OPERATION_FAILURE "
        "(7)",
        source="NVIDIA/cutile-python#57",
        after=("compile",),
    ),
    Check(
        "architecture",
        "the CUDA compiler does not support the architecture of this GPU",
        "The GPU is newer than this NVRTC or nvcc, or so old that they no longer support it.",
        ("{new_gpu}", "{old_gpu}"),
        says=(
            "invalid value for --gpu-architecture",
            "is not defined for option 'gpu-name'",
            "Unsupported gpu architecture '",
            "is not defined for option 'gpu-architecture'",
        ),
        example="cupy.cuda.compiler.CompileException: nvrtc: error: invalid value for "
        "--gpu-architecture (-arch)",
        source="cupy/cupy#9475",
        after=("build-architecture",),
        group="compile",
    ),
    Check(
        "option",
        "NVRTC rejects an option",
        "Usually, the option is the GPU's architecture: the GPU is newer than this NVRTC, or so "
        "old that this NVRTC no longer supports it. Otherwise, the program passes a wrong option.",
        ("{new_gpu}", "{old_gpu}"),
        says=("NVRTC_ERROR_INVALID_OPTION",),
        example="cupy_backends.cuda.libs.nvrtc.NVRTCError: NVRTC_ERROR_INVALID_OPTION (5)",
        source="cupy/cupy#9475",
        after=("compile",),
    ),
    Check(
        "no-binary",
        "a kernel was not compiled for this GPU",
        "The GPU is newer than the CUDA toolkit that compiled the kernel, or too old for it. An "
        "RTX 50 (Blackwell) needs CUDA 12.8 or later.",
        (
            "For a newer GPU, use CUDA 12.8 or later, and the CuPy for it: {newer}.",
            "Then delete the old kernels in `~/.cupy/kernel_cache`.",
            "For an older GPU, use an older CUDA, and the CuPy for it.",
        ),
        says=("CUDA_ERROR_NO_BINARY_FOR_GPU", "cudaErrorNoKernelImageForDevice"),
        condition=lambda machine: not machine.rocm,
        example="cupy_backends.cuda.api.driver.CUDADriverError: CUDA_ERROR_NO_BINARY_FOR_GPU: no "
        "kernel image is available for execution on the device",
        source="cupy/cupy#9106",
    ),
    Check(
        "invalid-image",
        "the driver rejects a compiled kernel",
        "The kernel was compiled for another GPU, or by a CUDA that is newer than the driver. "
        "Either the GPU is too new for this CuPy and its NVRTC, or PyTorch's newer NVRTC was "
        "loaded. A file in the kernel cache may also be damaged.",
        (
            "Upgrade CuPy: {upgrade}.",
            "Delete the old kernels in `~/.cupy/kernel_cache`.",
            "If another package contains a newer CUDA than the driver supports (`nvidia-smi`), "
            "upgrade the driver, or use the same CUDA version for both.",
        ),
        says=(
            "CUDA_ERROR_INVALID_SOURCE",
            "CUDA_ERROR_INVALID_IMAGE",
            "cudaErrorInvalidKernelImage",
        ),
        example="cupy_backends.cuda.api.driver.CUDADriverError: CUDA_ERROR_INVALID_SOURCE: device "
        "kernel image is invalid",
        source="cupy/cupy#8045",
    ),
    Check(
        "newer-toolkit",
        "the CUDA toolkit is newer than the driver",
        "The toolkit compiled a kernel to a version of PTX that the driver does not support.",
        (
            "Upgrade the NVIDIA driver.",
            "Or use a toolkit that the driver supports (`nvidia-smi` shows the newest), and the "
            "CuPy for it. On a Jetson, use the CUDA of its JetPack.",
        ),
        says=("CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "cudaErrorUnsupportedPtxVersion"),
        example="cupy_backends.cuda.api.driver.CUDADriverError: "
        "CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the provided PTX was compiled with an unsupported "
        "toolchain.",
        source="cupy/cupy#6875",
    ),
    Check(
        "invalid-ptx",
        "the driver cannot compile a kernel's PTX",
        "The PTX needs features that this driver or GPU does not have: the toolkit is newer than "
        "the driver, or the kernel was written for newer GPUs.",
        (
            "Upgrade the NVIDIA driver, or use an older toolkit.",
            "If it is a kernel of your own, check which GPUs its instructions need.",
        ),
        says=("CUDA_ERROR_INVALID_PTX", "cudaErrorInvalidPtx"),
        example="cupy_backends.cuda.api.driver.CUDADriverError: CUDA_ERROR_INVALID_PTX: a PTX JIT "
        "compilation failed",
        source="read in CUDA",
    ),
    Check(
        "toolkit-headers",
        "the headers of the CUDA toolkit are not found",
        "CuPy needs headers of the toolkit to compile kernels, and finds no toolkit.",
        (
            "Install them as wheels: {toolkit}.",
            "Or install the CUDA toolkit, and set CUDA_PATH to its folder.",
        ),
        says=("Failed to find CUDA headers", "Failed to auto-detect CUDA root directory"),
        example="RuntimeError: Failed to find CUDA headers. Please install CUDA toolkit headers",
        source="made with pip",
        group="compile",
    ),
    Check(
        "runtime-headers",
        "headers of the CUDA runtime are missing",
        "NVRTC does not find `{header}`. Since CUDA 12.2, the headers for half precision include "
        "headers of the CUDA runtime, which NVRTC's wheels do not contain.",
        (
            "With CuPy 14: {toolkit}.",
            "With CuPy 13 and wheels of CUDA 12: `{pip} install "
            '"nvidia-cuda-runtime-cu12==12.X.*"`, '
            "with the X of the installed NVRTC.",
            "With an installed toolkit: set CUDA_PATH to its folder.",
        ),
        says=_OPEN,
        # In these files, the kernel itself includes the header.
        unless=(".cubin.cu(", "kern.cu("),
        details=_header("runtime"),
        example='cuda_fp16.h(129): catastrophic error: cannot open source file "vector_types.h"',
        source="cupy/cupy#8466",
        group="compile",
    ),
    Check(
        "cuda-headers",
        "a kernel includes a header of CUDA that NVRTC does not find",
        "NVRTC searches only the folders that it is given, and `{header}` is not in any of them.",
        (
            'Pass the folder of CUDA\'s headers: `options=("-I/usr/local/cuda/include",)`, or set '
            "CUDA_PATH.",
            "Or remove the `#include`: NVRTC does not need `cuda_runtime.h` and `cuda.h`.",
            'If the header includes host headers, use `backend="nvcc"`.',
        ),
        says=_OPEN,
        details=_header("cuda", "runtime"),
        after=("runtime-headers",),
        example='k.cu(2): catastrophic error: cannot open source file "thrust/count.h"',
        source="cupy/cupy#4321",
        group="compile",
    ),
    Check(
        "host-headers",
        "a kernel includes a header of the host's compiler",
        "NVRTC compiles only GPU code and has no standard C or C++ headers such as `{header}`.",
        (
            "Remove the `#include`. CUDA's mathematical functions do not need it.",
            'If a CUDA header includes it, use `backend="nvcc"`, or `cuda/std/...` headers.',
        ),
        says=_OPEN,
        details=_header("host"),
        example='util_type.cuh(36): catastrophic error: cannot open source file "iostream"',
        source="cupy/cupy#7743",
        group="compile",
    ),
    Check(
        "temporary-path",
        "NVRTC cannot open a file in the temporary folder",
        "CuPy writes a kernel to the temporary folder, and NVRTC cannot open it. On Windows, NVRTC "
        "cannot open paths with non-ASCII characters, for example in the user's name.",
        ("Set TEMP and TMP to a folder with an ASCII path (`C:\\Temp`) before Python starts.",),
        says=('cannot open source file "{*}.cubin.cu"',),
        example="cupy.cuda.compiler.CompileException: Catastrophic error: cannot open source file "
        '"C:\\Users\\\u59d7\\Temp\\tmpx\\5670_2.cubin.cu"',
        source="cupy/cupy#2100",
        group="compile",
    ),
    Check(
        "barrier",
        "the header files of CuPy 13.0 do not compile for this GPU",
        "CuPy 13.0 compiles a test kernel with `cuda/barrier`, which needs compute capability 7.0 "
        "or later. The GPU is older.",
        ("Upgrade to a later CuPy: {upgrade}.",),
        says=("CUDA synchronization primitives are only supported for sm_70 and up",),
        needs=("cupy_jitify_exercise",),
        example='std/barrier(16): catastrophic error: #error directive: "CUDA synchronization '
        'primitives are only supported for sm_70 and up."\ncompile log for cupy_jitify_exercise',
        source="cupy/cupy#8260",
        printed=True,
        group="compile",
    ),
    Check(
        "jitify-headers",
        "the header files of CuPy 13.0 do not compile",
        "CuPy 13.0 compiles a test kernel with its own header files, and NVRTC rejects them.",
        ("Upgrade to a later CuPy: {upgrade}.",),
        says=("libcxx/include/limits({line}): error: floating constant is out of range",),
        needs=("cupy_jitify_exercise",),
        example="detail/libcxx/include/limits(351): error: floating constant is out of range\n"
        "compile log for cupy_jitify_exercise",
        source="cupy/cupy#8147",
        printed=True,
        group="compile",
    ),
    Check(
        "mixed-headers",
        "headers of one CUDA version are compiled by another",
        "The error is in a header of CUDA or CuPy, not in the program's kernel. NVRTC compiles "
        "headers of another version. They come from a toolkit that CUDA_PATH or `nvcc` on PATH "
        "selects, or from another package.",
        (
            "Keep one CUDA: unset CUDA_PATH, remove other versions of `nvcc` from PATH, and "
            "uninstall `nvidia-...` packages of other versions.",
            "Install the matching headers: {toolkit}.",
            "Upgrade CuPy: newer versions support newer CUDA versions.",
        ),
        says=(
            "/_cccl/{*}: error: ",
            "\\_cccl\\{*}: error: ",
            "cuda_fp16.h{*}: error: ",
            "cuda_fp8.h{*}: error: ",
            "cuda_bf16.h{*}: error: ",
            "cuda_fp16.hpp{*}: error: ",
            "cuda_fp8.hpp{*}: error: ",
            "cuda_bf16.hpp{*}: error: ",
            "cooperative_groups{*}: error: ",
            "libcudacxx{*}: error: ",
            "carray.cuh{*}: error: ",
            "complex/complex.h{*}: error: ",
            "vector_types.h{*}: error: ",
            'in the compilation of "cupy_jitify_exercise"',
        ),
        unless=("cannot open source file", "could not open source file"),
        example="/venv/cupy/_core/include/cupy/_cccl/libcudacxx/cuda/std/storage.h(137): error: "
        'incomplete type "__nv_fp8_e8m0" is not allowed',
        source="cupy/cupy#9962",
        after=("barrier", "jitify-headers"),
        group="compile",
    ),
    Check(
        "kernel-source",
        "a kernel of the program does not compile",
        "The error is in the kernel's own source, so the program or library that wrote it must be "
        "corrected. Often, a Python object (`None`, `tensor`) was formatted into the source.",
        (
            "Look at the line in the message. With CUPY_DUMP_CUDA_SOURCE_ON_ERROR=1, CuPy prints "
            "the source.",
        ),
        says=(".cu({line}): error: ", ".cu({line}): catastrophic error: #error"),
        unless=("cannot open source file", "could not open source file"),
        example='/tmp/tmpx/3b7c.cubin.cu(16): error: identifier "tensor" is undefined',
        source="cupy/cupy#5294",
        after=("barrier", "mixed-headers", "runtime-headers", "build"),
        group="compile",
    ),
    Check(
        "compilation",
        "a kernel does not compile",
        "NVRTC rejects a kernel. Its messages follow the exception and show whether the error is "
        "in the kernel or in headers of CUDA.",
        ("Read the first message with `error:`, and give the doctor the whole output.",),
        says=("NVRTC_ERROR_COMPILATION", "JitifyException: Runtime compilation failed"),
        example="cupy.cuda.nvrtc.NVRTCError: NVRTC_ERROR_COMPILATION (6)",
        source="cupy/cupy#2100",
        after=("*",),
    ),
    Check(
        "no-kernel-file",
        "the file of a compiled kernel is missing",
        "The program or a library loads a kernel from a file (cubin, fatbin or PTX) that does not "
        "exist. Some libraries compile such files during installation, and skip that without nvcc.",
        ("Reinstall that library with nvcc on PATH, or correct the file's path.",),
        says=("CUDA_ERROR_FILE_NOT_FOUND", "cudaErrorFileNotFound"),
        example="cupy_backends.cuda.api.driver.CUDADriverError: CUDA_ERROR_FILE_NOT_FOUND: file "
        "not found",
        source="rapidsai/cusignal#535",
    ),
    Check(
        "kernel-name",
        "a compiled module has no kernel of that name",
        "The C++ compiler mangles the names of kernels, so the plain name is not found.",
        (
            'Declare the kernel `extern "C" __global__`, or pass `name_expressions` to '
            "`cupy.RawModule`. Check the spelling of the name.",
        ),
        says=("CUDA_ERROR_NOT_FOUND", "cudaErrorSymbolNotFound", "hipErrorNotFound"),
        needs=("get_function", "modulegetfunction"),
        example="CUDADriverError: CUDA_ERROR_NOT_FOUND: named symbol not found\n"
        '  File "cupy/cuda/function.pyx", line 241, in cupy.cuda.function.Module.get_function',
        source="cupy/cupy#7661",
    ),
    Check(
        "no-nvcc",
        "a kernel needs nvcc, and there is none",
        "The program compiles a kernel with the CUDA compiler nvcc, which CuPy does not find. "
        "CuPy's wheels and `[ctk]` do not contain it.",
        (
            "Install the CUDA toolkit with nvcc, and put its `bin` on PATH, or set NVCC to the "
            "path of nvcc.",
            'Or use `backend="nvrtc"` in the program, which does not need nvcc.',
        ),
        says=(
            "'NoneType' object has no attribute 'split'",
            "No such file or directory: 'nvcc",
            "nvcc: not found",
            "nvcc: command not found",
        ),
        needs=(
            "compile_using_nvcc",
            "nvcc_path",
            "backend='nvcc'",
            "_compile_with_cache",
            "cupy/cuda/compiler.py",
        ),
        example="AttributeError: 'NoneType' object has no attribute 'split'\n    cmd = "
        "[nvcc_path.split()]",
        source="cupy/cupy#4455",
        group="compile",
    ),
    Check(
        "cache-race",
        "several processes use the same kernel cache on Windows",
        "Several processes compiled the same kernel at the same time. Windows cannot open a file "
        "that another process is replacing.",
        (
            "Run the program again: the kernels are compiled now.",
            "Give each process its own folder: set CUPY_CACHE_DIR before it imports CuPy.",
            "Upgrade CuPy: newer versions handle this.",
        ),
        says=(
            "PermissionError: [Errno 13] Permission denied: '{*}kernel_cache\\",
            "PermissionError: [WinError 5] {*}kernel_cache",
            "PermissionError: [WinError 32] {*}kernel_cache",
        ),
        example="PermissionError: [Errno 13] Permission denied: "
        "'C:\\\\Users\\\\u\\\\.cupy\\\\kernel_cache\\\\c3d8f3.cubin'",
        source="cupy/cupy#10271",
    ),
    Check(
        "jitify-cache",
        "CuPy 13.0 uses an invalid file name on Windows",
        "CuPy 13.0 uses `<unknown>` in the name of a cache file, which Windows does not allow.",
        ("Upgrade to a later CuPy: {upgrade}.",),
        says=("[WinError 123]{*}jitify_cache",),
        example="OSError: [WinError 123] The filename is incorrect: "
        "'C:\\\\Users\\\\u/.cupy/jitify_cache/jitify_<unknown>_200200.json'",
        source="cupy/cupy#8218",
    ),
    Check(
        "cache-full",
        "there is no space for CuPy's compiled kernels",
        "The disk or your quota is full. CuPy keeps compiled kernels in `~/.cupy`, or in the "
        "folder that CUPY_CACHE_DIR names.",
        ("Delete old kernels, or set CUPY_CACHE_DIR to a folder on another disk.",),
        says=("[Errno 122] {*}", "[Errno 28] {*}", "Disk quota exceeded"),
        needs=("kernel_cache", "_compiler_cache", ".cupy/", ".cupy\\"),
        example="OSError: [Errno 122] Disk quota exceeded: '/home/u/.cupy/kernel_cache/tmpx'",
        source="DiamondLightSource/httomo#243",
    ),
    Check(
        "cache",
        "CuPy cannot write to its folder for compiled kernels",
        "{cache} cannot be created or written. CuPy 14 creates it at import, CuPy 13 when it "
        "compiles the first kernel.",
        ("Set CUPY_CACHE_DIR to a writable folder: `export CUPY_CACHE_DIR=/tmp/cupy-cache`.",),
        says=(
            "PermissionError: [Errno 13] ",
            "PermissionError: [Errno 1] ",
            "FileExistsError: [Errno 17] ",
            "NotADirectoryError: [Errno 20] ",
            "OSError: [Errno 30] ",
            "FileNotFoundError: [Errno 2] {*}cache",
            "PermissionError: [WinError 5] ",
        ),
        needs=("_compiler_cache.py", "kernel_cache", "/.cupy'"),
        example="PermissionError: [Errno 13] Permission denied: '/home/u/.cupy'\n"
        '  File "/venv/cupy/cuda/_compiler_cache.py", line 96, in __init__',
        source="NixOS/nixpkgs#551032",
        detects=lambda case: case.machine.cache.get("writable") is False,
        after=("cache-race",),
    ),
)

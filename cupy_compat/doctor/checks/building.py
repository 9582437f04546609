"""Checks: pip builds CuPy from source, and the build fails."""

from __future__ import annotations

from ..machine import Machine
from ._check import Check

#: Checks that explain a failed search for the toolkit.
_SPECIFIC = (
    "build-host-compiler",
    "build-architecture",
    "build-msvc",
    "build-compiler",
    "build-rocm",
    "build-no-cython",
    "build-cython",
    "build-old-cupy",
)
_WHEEL = "Install a wheel, which needs no build: {install}."


def _built(machine: Machine) -> bool:
    # Builds of other packages print the same texts.
    return machine.built


BUILDING = (
    Check(
        "build-rocm",
        "a build of CuPy for ROCm fails",
        "A build for AMD GPUs needs the ROCm toolkit, its location, and the GPU's architecture.",
        (
            "Set `CUPY_INSTALL_USE_HIP=1`, `ROCM_HOME=/opt/rocm`, `HCC_AMDGPU_TARGET=gfx...` "
            "(`rocminfo | grep gfx` shows it) and `CXX=hipcc`, and build again.",
            "Or install the wheel `cupy-rocm-7-0`, if you have ROCm 7.0.",
        ),
        says=(
            "hipcc' failed",
            "hipcc: not found",
            "hipcc: command not found",
            "hipcc' returned non-zero",
            "No such file or directory: 'hipcc'",
        ),
        condition=_built,
        example="error: command '/opt/rocm/bin/hipcc' failed with exit code 1\nERROR: Failed "
        "building wheel for cupy",
        source="cupy/cupy#9098",
        printed=True,
        group="build",
    ),
    Check(
        "build-host-compiler",
        "the C++ compiler is newer than nvcc accepts",
        "Each nvcc accepts C++ compilers up to a certain version, and this one is newer.",
        ("If you are building CuPy, install a wheel instead: {install}.", "{compiler}"),
        says=(
            "unsupported GNU version!",
            "unsupported clang version!",
            "unsupported Microsoft Visual Studio version!",
            "nvcc cannot find a supported version of Microsoft Visual Studio",
        ),
        example="host_config.h:143:2: error: #error -- unsupported GNU version! gcc versions "
        "later than 12 are not supported!",
        source="cupy/cupy#439",
        printed=True,
        group="build",
    ),
    Check(
        "build-architecture",
        "nvcc does not support an architecture for which CuPy is built",
        "This CUDA toolkit is too new or too old for this CuPy: it no longer supports that "
        "architecture, or does not support it yet.",
        (
            _WHEEL,
            "To build: use a CuPy that was released when the toolkit was, or build only for your "
            "GPU: `CUPY_NVCC_GENERATE_CODE=current`.",
        ),
        says=(
            "Unsupported gpu architecture 'compute_",
            "Unsupported gpu architecture 'sm_",
            "is not defined for option 'gpu-architecture'",
        ),
        condition=_built,
        example="nvcc fatal   : Unsupported gpu architecture 'compute_30'\nERROR: Failed building "
        "wheel for cupy",
        source="cupy/cupy#3575",
        printed=True,
        group="build",
    ),
    Check(
        "build-msvc",
        "a build of CuPy needs the compiler of Visual Studio",
        "CuPy is built from source, and Windows does not include a C++ compiler.",
        (_WHEEL, "To build: install Visual Studio's Build Tools with the C++ workload."),
        says=(
            "Microsoft Visual C++ {version} is required",
            "Microsoft Visual C++ {version} or greater is required",
            "Unable to find vcvarsall.bat",
            "Cannot find compiler 'cl.exe' in PATH",
            "Unable to find a compatible Visual Studio",
        ),
        condition=_built,
        example='Microsoft Visual C++ 14.0 is required. Get it with "Microsoft Visual C++ Build '
        'Tools"\nCollecting cupy',
        source="cupy/cupy#2137",
        printed=True,
        group="build",
    ),
    Check(
        "build-compiler",
        "a build of CuPy needs a C++ compiler",
        "CuPy is built from source, but there is no working C++ compiler, or Python's headers are "
        "missing.",
        (
            _WHEEL,
            "To build: install a compiler and Python's headers (`apt install g++ python3-dev`).",
        ),
        says=(
            "command 'gcc' failed: No such file",
            "command 'g++' failed: No such file",
            "unable to execute 'gcc'",
            "unable to execute 'g++'",
            "cannot execute 'cc1plus'",
            "error trying to exec 'cc1plus'",
            "fatal error: Python.h: No such file",
            "gcc: No such file or directory",
        ),
        condition=_built,
        example="error: command 'gcc' failed: No such file or directory\nERROR: Failed building "
        "wheel for cupy",
        source="made with pip",
        printed=True,
        group="build",
    ),
    Check(
        "build-cython",
        "Cython does not compile this CuPy",
        "This version of Cython does not suit this CuPy, or the build uses files that are not "
        "CuPy's own.",
        (
            _WHEEL,
            "To build: use the newest CuPy, or an older Cython (`Cython<3` before CuPy 13) without "
            "build isolation: `{pip} install --no-build-isolation ...`.",
        ),
        says=("Cython.Compiler.Errors.CompileError: cupy", "Error compiling Cython file"),
        condition=_built,
        example="Cython.Compiler.Errors.CompileError: cupy/_core/core.pyx\nERROR: Failed building "
        "wheel for cupy",
        source="BLAST-WarpX/warpx#4247",
        printed=True,
        group="build",
    ),
    Check(
        "build-no-cython",
        "a build of CuPy has no Cython, or one that is too old",
        "The build does not get the version of Cython, or of another package, that it requires.",
        (
            _WHEEL,
            "To build: use the newest CuPy, check whether pip reaches the index, and install the "
            'requirements: `{pip} install "Cython>=3" numpy setuptools wheel`.',
        ),
        says=(
            "No matching distribution found for Cython",
            "No module named 'Cython'",
            "Please install Cython {version}",
        ),
        condition=_built,
        example="ERROR: No matching distribution found for Cython>=3\nCollecting cupy",
        source="cvg/mpsfm#21",
        printed=True,
        group="build",
    ),
    Check(
        "build-old-cupy",
        "this CuPy is too old for this Python or its setuptools",
        "The build script of this CuPy uses modules that Python or setuptools has removed.",
        (_WHEEL, "To build: use the newest CuPy, or an older Python."),
        says=(
            "No module named 'distutils",
            "cannot import name '{name}' from 'distutils",
            "cannot import name '{name}' from 'setuptools",
            "No module named 'pkg_resources'",
            "module 'pkgutil' has no attribute 'ImpImporter'",
            "module 'setuptools.",
        ),
        condition=_built,
        example="ModuleNotFoundError: No module named 'distutils'\nERROR: Failed to build cupy",
        source="read in setuptools",
        printed=True,
        group="build",
    ),
    Check(
        "build-memory",
        "a build of CuPy runs out of memory",
        "The system killed a compiler because memory was full.",
        (_WHEEL, "To build: run fewer compilers at once: `CUPY_NUM_BUILD_JOBS=1`."),
        says=(
            "Killed signal terminated program",
            "fatal error: Killed",
            "virtual memory exhausted",
        ),
        condition=_built,
        example="c++: fatal error: Killed signal terminated program cc1plus\nBuilding wheel for "
        "cupy",
        source="read in gcc",
        printed=True,
        group="build",
    ),
    Check(
        "build-no-cuda",
        "a build of CuPy finds no CUDA toolkit",
        "`pip install cupy` builds CuPy from source. That needs a CUDA toolkit with headers, and a "
        "compiler.",
        (_WHEEL, "To build: {build_toolkit}, and try again."),
        says=("CUDA could not be found on your system", "Your CUDA environment is invalid"),
        example="Exception: Your CUDA environment is invalid. Please check above error log.",
        source="made with pip",
        printed=True,
        after=_SPECIFIC,
        group="build",
    ),
    Check(
        "build-no-headers",
        "a build of CuPy finds no headers or libraries of CUDA",
        "`pip install cupy` builds CuPy from source. That needs a CUDA toolkit whose headers the "
        "compiler finds.",
        (_WHEEL, "To build: {build_toolkit}, and try again."),
        says=(
            "fatal error: cublas_v2.h",
            "fatal error: 'cublas_v2.h'",
            "fatal error: cuda_runtime.h",
            "fatal error: 'cuda_runtime.h'",
            "fatal error: cuda.h",
            "fatal error: 'cuda.h'",
            "fatal error: cuComplex.h",
            "cannot find -lcublas",
            "cannot find -lcudart",
            "cannot find -lcuda{$}",
            "*** WARNING: Cannot link libraries: [",
            "*** WARNING: Include files not found: [",
            "*** WARNING: Skip installing cuda support",
        ),
        condition=_built,
        example="a.cpp:1:10: fatal error: 'cublas_v2.h' file not found\n  Using cached "
        "cupy-6.5.0.tar.gz",
        source="Bartzi/kiss#3",
        printed=True,
        after=("build-no-cuda", *_SPECIFIC),
        group="build",
    ),
    Check(
        "build-cpp",
        "the C++ compiler rejects CuPy's code",
        "The error is in C++ code of CuPy, or that Cython generated from it. This CuPy does not "
        "suit the version of Cython, CUDA or ROCm.",
        (_WHEEL, "To build: use the newest CuPy with a toolkit that it supports."),
        says=(
            "cupy{*}.cpp:{line}:{column}: error: ",
            "cupy{*}.cpp:{line}:{column}: fatal error: ",
            "cupy{*}.cu:{line}:{column}: fatal error: ",
            "cupy{*}.cpp({line}): error C",
            "cupy{*}.cu:{line}:{column}: error: ",
            "cupy{*}.cu({line}): error: ",
        ),
        unless=(".cubin.cu", "cannot open source file"),
        condition=_built,
        example="cupy_backends/cuda/api/runtime.cpp:25399:67: error: cannot convert "
        "'PyObject*'\nERROR: Failed building wheel for cupy",
        source="cupy/cupy#5273",
        printed=True,
        after=("build-no-cuda", "build-host-compiler", "build-rocm"),
        group="build",
    ),
    Check(
        "build-nvcc",
        "nvcc fails in a build of CuPy",
        "The CUDA compiler rejects CuPy's code. Its own messages come before this one. Usually, "
        "the versions of CuPy, the CUDA toolkit and the C++ compiler do not suit each other.",
        (_WHEEL, "To build: use the newest CuPy with a toolkit that it supports."),
        says=(
            "nvcc' failed with exit",
            "nvcc.exe' failed with exit",
            "nvcc'{*}returned non-zero exit",
            "nvcc.exe'{*}returned non-zero exit",
            "nvcc fatal",
            "bin/nvcc.exe', ",
            "bin/nvcc', ",
        ),
        condition=_built,
        example="error: command '/usr/local/cuda/bin/nvcc' failed with exit code 1\nERROR: Failed "
        "building wheel for cupy",
        source="dipy/cudipy#5",
        printed=True,
        after=("build-no-cuda", "build-no-headers", "build-memory", "build-cpp", *_SPECIFIC),
        group="build",
    ),
    Check(
        "build",
        "pip builds CuPy from source, and the build fails",
        "`pip install cupy` builds the source distribution, which needs a CUDA or ROCm toolkit and "
        "a C++ compiler. The actual error is above this message.",
        (_WHEEL, "To build: {build_toolkit}, install a compiler, and look at the first error."),
        says=(
            "Failed building wheel for cupy{$}",
            "Could not build wheels for cupy{$}",
            "Failed to build cupy{$}",
            "Failed to build `cupy==",
            "Failed to build 'cupy'",
            "pyproject.toml based projects (cupy)",
            "Failed to download and build `cupy",
            "Installing cupy ({version}): Failed",
            "pip-install-{*}/cupy/",
            "Building wheel for cupy ({*}error",
        ),
        unless=("traceback",),
        example="ERROR: Failed building wheel for cupy",
        source="k-hengzhou/Hphoto#1",
        printed=True,
        after=("build", "compile"),
    ),
)

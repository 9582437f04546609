"""pip builds CuPy from source, and that fails."""

from __future__ import annotations

from ..machine import Machine
from ._check import Check

#: What a missing toolkit may be the consequence of.
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
_WHEEL = "Install a wheel, which needs no building: {install}."


def _built(machine: Machine) -> bool:
    # The same words come from builds of other packages.
    return machine.built


BUILDING = (
    Check(
        "build-rocm",
        "a build of CuPy for ROCm fails",
        "The build for AMD GPUs needs the ROCm toolkit, and settings that say where it is and for "
        "which GPU to compile.",
        (
            "Set `CUPY_INSTALL_USE_HIP=1`, `ROCM_HOME=/opt/rocm`, `HCC_AMDGPU_TARGET=gfx...` "
            "(`rocminfo | grep gfx` shows it) and `CXX=hipcc`, and build again.",
            "Or install the wheel `cupy-rocm-7-0`, if ROCm 7.0 is there.",
        ),
        says=(
            "hipcc' failed",
            "hipcc: not found",
            "hipcc: command not found",
            "hipcc' returned non-zero",
            "No such file or directory: 'hipcc'",
        ),
        given=_built,
        example="error: command '/opt/rocm/bin/hipcc' failed with exit code 1\nERROR: Failed "
        "building wheel for cupy",
        source="cupy/cupy#9098",
        printed=True,
        group="build",
    ),
    Check(
        "build-host-compiler",
        "the C++ compiler is newer than nvcc accepts",
        "Each nvcc accepts C++ compilers up to some version, and this one is newer.",
        (
            "If CuPy itself is being built, a wheel needs no building: {install}.",
            "{compiler}",
        ),
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
        "nvcc does not know an architecture that it compiles for",
        "This CUDA toolkit has dropped that architecture, or does not have it yet: CuPy and the "
        "toolkit are of different times.",
        (
            _WHEEL,
            "To build: use a CuPy of the toolkit's time (newer CuPys no longer ask for old GPUs), "
            "or name the architecture: `CUPY_NVCC_GENERATE_CODE=current`.",
        ),
        says=(
            "Unsupported gpu architecture 'compute_",
            "Unsupported gpu architecture 'sm_",
            "is not defined for option 'gpu-architecture'",
        ),
        given=_built,
        example="nvcc fatal   : Unsupported gpu architecture 'compute_30'\nERROR: Failed building "
        "wheel for cupy",
        source="cupy/cupy#3575",
        printed=True,
        group="build",
    ),
    Check(
        "build-msvc",
        "a build of CuPy needs the compiler of Visual Studio",
        "CuPy is built from source, and Windows has no C++ compiler by itself.",
        (_WHEEL, "To build: install Visual Studio's Build Tools with the C++ workload."),
        says=(
            "Microsoft Visual C++ {version} is required",
            "Microsoft Visual C++ {version} or greater is required",
            "Unable to find vcvarsall.bat",
            "Cannot find compiler 'cl.exe' in PATH",
            "Unable to find a compatible Visual Studio",
        ),
        given=_built,
        example='Microsoft Visual C++ 14.0 is required. Get it with "Microsoft Visual C++ Build '
        'Tools"\nCollecting cupy',
        source="cupy/cupy#2137",
        printed=True,
        group="build",
    ),
    Check(
        "build-compiler",
        "a build of CuPy needs a C++ compiler",
        "CuPy is built from source, and there is no working C++ compiler, or Python's headers are "
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
        given=_built,
        example="error: command 'gcc' failed: No such file or directory\nERROR: Failed building "
        "wheel for cupy",
        source="made with pip",
        printed=True,
        group="build",
    ),
    Check(
        "build-cython",
        "Cython does not compile this CuPy's sources",
        "This CuPy and the Cython that builds it are of different times, or the build takes other "
        "files than CuPy's own.",
        (
            _WHEEL,
            "To build: use the newest CuPy, or the Cython of this one's time (`Cython<3` before "
            "CuPy 13), without build isolation: `{pip} install --no-build-isolation ...`.",
        ),
        says=(
            "Cython.Compiler.Errors.CompileError: cupy",
            "Error compiling Cython file",
        ),
        given=_built,
        example="Cython.Compiler.Errors.CompileError: cupy/_core/core.pyx\nERROR: Failed building "
        "wheel for cupy",
        source="BLAST-WarpX/warpx#4247",
        printed=True,
        group="build",
    ),
    Check(
        "build-no-cython",
        "a build of CuPy has no Cython, or too old a one",
        "The build needs Cython (and others), and does not get the version that it asks for.",
        (
            _WHEEL,
            "To build: use the newest CuPy, see whether pip reaches the index, and install what "
            'that CuPy asks for: `{pip} install "Cython>=3" numpy setuptools wheel`.',
        ),
        says=(
            "No matching distribution found for Cython",
            "No module named 'Cython'",
            "Please install Cython {version}",
        ),
        given=_built,
        example="ERROR: No matching distribution found for Cython>=3\nCollecting cupy",
        source="cvg/mpsfm#21",
        printed=True,
        group="build",
    ),
    Check(
        "build-old-cupy",
        "this CuPy is too old for this Python or its setuptools",
        "The build script of this CuPy uses what Python or setuptools have removed since.",
        (_WHEEL, "To build: use the newest CuPy, or the Python of this one's time."),
        says=(
            "No module named 'distutils",
            "cannot import name '{name}' from 'distutils",
            "cannot import name '{name}' from 'setuptools",
            "No module named 'pkg_resources'",
            "module 'pkgutil' has no attribute 'ImpImporter'",
            "module 'setuptools.",
        ),
        given=_built,
        example="ModuleNotFoundError: No module named 'distutils'\nERROR: Failed to build cupy",
        source="read in setuptools",
        printed=True,
        group="build",
    ),
    Check(
        "build-memory",
        "a build of CuPy runs out of memory",
        "The system ended a compiler for want of memory.",
        (_WHEEL, "To build: let fewer compilers run at once: `CUPY_NUM_BUILD_JOBS=1`."),
        says=(
            "Killed signal terminated program",
            "fatal error: Killed",
            "virtual memory exhausted",
        ),
        given=_built,
        example="c++: fatal error: Killed signal terminated program cc1plus\nBuilding wheel for "
        "cupy",
        source="read in gcc",
        printed=True,
        group="build",
    ),
    Check(
        "build-no-cuda",
        "a build of CuPy finds no CUDA toolkit",
        "`pip install cupy` builds CuPy from source, and that needs a CUDA toolkit with its "
        "headers, and a compiler.",
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
        "`pip install cupy` builds CuPy from source, and that needs a CUDA toolkit with its "
        "headers where the compiler looks.",
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
        given=_built,
        example="a.cpp:1:10: fatal error: 'cublas_v2.h' file not found\n  Using cached "
        "cupy-6.5.0.tar.gz",
        source="Bartzi/kiss#3",
        printed=True,
        after=("build-no-cuda", *_SPECIFIC),
        group="build",
    ),
    Check(
        "build-cpp",
        "the C++ compiler rejects CuPy's sources",
        "The error is in C++ code that Cython made of CuPy's sources, or in CuPy's own. This "
        "CuPy, Cython, and the CUDA or ROCm toolkit are of different times.",
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
        given=_built,
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
        "The CUDA compiler rejects CuPy's sources; its own messages come before this one. Most "
        "often CuPy, the CUDA toolkit and the C++ compiler are of different times.",
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
        given=_built,
        example="error: command '/usr/local/cuda/bin/nvcc' failed with exit code 1\nERROR: Failed "
        "building wheel for cupy",
        source="dipy/cudipy#5",
        printed=True,
        after=("build-no-cuda", "build-no-headers", "build-memory", "build-cpp", *_SPECIFIC),
        group="build",
    ),
    Check(
        "build",
        "pip builds CuPy from source, and that fails",
        "`pip install cupy` takes the source distribution, which needs a CUDA (or ROCm) toolkit "
        "and a C++ compiler. What failed stands above this message.",
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

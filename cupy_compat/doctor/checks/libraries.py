"""Checks: libraries of CUDA, ROCm, the driver or C++ are missing or have another version."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..machine import Machine
from ..wheels import cuda_of, release, retired
from ._check import Check, Details

#: The library of a symbol, by the beginning of its name.
_LIBRARIES = (
    (re.compile(r"_*nvJitLink", re.I), "nvJitLink"),
    (re.compile(r"cublasLt"), "cuBLASLt"),
    (re.compile(r"cublas"), "cuBLAS"),
    (re.compile(r"cusparseLt"), "cuSPARSELt"),
    (re.compile(r"cusparse"), "cuSPARSE"),
    (re.compile(r"cusolver"), "cuSOLVER"),
    (re.compile(r"cufft"), "cuFFT"),
    (re.compile(r"curand"), "cuRAND"),
    (re.compile(r"cudnn"), "cuDNN"),
    (re.compile(r"cutensor"), "cuTENSOR"),
    (re.compile(r"p?nccl"), "NCCL"),
    (re.compile(r"nvrtc"), "NVRTC"),
    (re.compile(r"_*cuda[A-Z]"), "the CUDA runtime"),
    (re.compile(r"cu[A-Z]"), "the driver"),
    (re.compile(r"_Z\d*hip|_*hip|roc(blas|rand|fft|solver|sparse|tx)|rccl", re.I), "ROCm"),
)
_NEWER = (
    "Unset LD_LIBRARY_PATH, or remove the folders of other CUDA versions from it.",
    "If PyTorch or another package contains its own CUDA libraries, import it before CuPy, and "
    "use the same CUDA version for both.",
)
_SYMBOLS = (
    "undefined symbol: {symbol}",
    "symbol {symbol}{*} not defined in file {file} with link time",
)


def _symbol_belongs_to(*names: str) -> Details:
    def details(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
        found = next((name for start, name in _LIBRARIES if start.match(words["symbol"])), None)
        known = found is not None and (not names or found in names)
        return {"library": str(found)} if known else None

    return details


_OTHER = tuple(name for _, name in _LIBRARIES if name not in ("nvJitLink", "the driver", "ROCm"))
#: The files of these libraries, on Linux and on Windows.
_CUDA = re.compile(
    r"lib(cudart|cublas|cublasLt|cufft|cufftw|curand|cusolver|cusolverMg|cusparse|nvrtc|nvJitLink|"
    r"nvToolsExt)$|(cudart|cublas|cublasLt|cufft|curand|cusolver|cusparse|nvrtc|nvJitLink)64_"
)
_HIP = re.compile(r"lib(amdhip64|hiprtc|roc\w+|hip\w+|rccl|hsa-runtime64|amd_comgr)$")
#: The files of optional libraries, with their names and those of their wheels.
_OPTIONAL = {
    "libcutensor": ("cuTENSOR", "cutensor"),
    "libnccl": ("NCCL", "nvidia-nccl"),
    "libcudnn": ("cuDNN", "nvidia-cudnn"),
    "libcusparseLt": ("cuSPARSELt", "nvidia-cusparselt"),
}


def _file_matches(pattern: re.Pattern[str]) -> Details:
    def details(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
        name = words["file"].partition(".so")[0]
        return {"library": words["file"]} if pattern.match(name) else None

    return details


def _optional(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    file = words["file"].partition(".so")[0]
    if file not in _OPTIONAL:
        return None
    name, wheel = _OPTIONAL[file]
    old = next(filter(retired, machine.distributions), None)
    if old is not None and name != "cuSPARSELt":
        # These versions find it only where CuPy's own tool installs it.
        tool = f"--library {name.lower()} --cuda {cuda_of(old)}"
        return {"library": name, "optional": f"`python -m cupyx.tools.install_library {tool}`"}
    package = f"`{machine.pip} install {wheel}-cu{machine.cuda or 12}`"
    return {"library": name, "optional": f"with wheels, {package}; with conda, from conda-forge"}


_ABSENT = ("{file}: cannot open shared object file",)
_PROCEDURE = (
    "The specified procedure could not be found",
    "Die angegebene Prozedur wurde nicht gefunden",
    "La procédure spécifiée est introuvable",
    "No se encontró el proceso especificado",
    "No se puede encontrar el procedimiento especificado",
    "Impossibile trovare la procedura specificata",
    "Não foi possível encontrar o procedimento especificado",
    "Не найдена указанная процедура",
    "Не знайдено вказану процедуру",
    "找不到指定的程序",
    "指定されたプロシージャが見つかりません",
    "지정된 프로시저를 찾을 수 없습니다",
    "Nie można odnaleźć określonej procedury",
    "Belirtilen yordam bulunamadı",
    "Kan opgegeven procedure niet vinden",
)
_MODULE = (
    "The specified module could not be found",
    "Das angegebene Modul wurde nicht gefunden",
    "Le module spécifié est introuvable",
    "No se puede encontrar el módulo especificado",
    "Impossibile trovare il modulo specificato",
    "Não foi possível encontrar o módulo especificado",
    "Не найден указанный модуль",
    "Не знайдено вказаний модуль",
    "找不到指定的模块",
    "找不到指定的模組",
    "指定されたモジュールが見つかりません",
    "지정된 모듈을 찾을 수 없습니다",
    "Nie można odnaleźć określonego modułu",
    "Belirtilen modül bulunamadı",
    "Kan opgegeven module niet vinden",
)


def _dll(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"DLL load failed{{*}}{text}" for text in texts)


LIBRARIES = (
    Check(
        "nvjitlink",
        "nvJitLink is older than cuSPARSE or cuSOLVER",
        "cuSPARSE and cuSOLVER of CUDA 12 and later need an nvJitLink that is at least as new. An "
        "older one was found first.",
        (
            "Upgrade nvJitLink, if CUDA comes from wheels: `{pip} install --upgrade {nvjitlink}`.",
            _NEWER[0],
        ),
        says=_SYMBOLS,
        details=lambda machine, words: (
            {"nvjitlink": "nvidia-nvjitlink" + ("-cu12" if "_12_" in words["symbol"] else "")}
            if _symbol_belongs_to("nvJitLink")(machine, words)
            else None
        ),
        example="ImportError: /venv/nvidia/cusparse/lib/libcusparse.so.12: undefined symbol: "
        "__nvJitLinkGetErrorLogSize_12_9, version libnvJitLink.so.12",
        source="rapidsai/cuml#7794",
        group="mixed",
        shared=True,
    ),
    Check(
        "torch-library",
        "PyTorch gets an older library than it needs",
        "PyTorch needs a newer version of {library} than the one that was loaded. Either CuPy was "
        "imported before PyTorch, or LD_LIBRARY_PATH contains an older version, or two versions "
        "are installed.",
        (
            "Import torch before CuPy.",
            _NEWER[0],
            "Use the same CUDA version for PyTorch and CuPy, and install each `nvidia-...` "
            "package for that version only.",
        ),
        says=("libtorch{*}undefined symbol: {symbol}", "/torch/lib/{*}undefined symbol: {symbol}"),
        details=_symbol_belongs_to(*_OTHER),
        example="ImportError: /venv/torch/lib/libtorch_cuda.so: undefined symbol: "
        "cudaGraphInstantiateWithFlags, version libcudart.so.11.0",
        source="cupy/cupy#7506",
        group="mixed",
        shared=True,
    ),
    Check(
        "old-driver-library",
        "the NVIDIA driver is older than CuPy's CUDA",
        "CuPy or another library needs `{symbol}`, which this driver does not have.",
        (
            "Upgrade the NVIDIA driver.",
            "Or install a CuPy for an older CUDA. `nvidia-smi` shows the newest CUDA that the "
            "driver supports.",
        ),
        says=_SYMBOLS,
        details=_symbol_belongs_to("the driver"),
        example="ImportError: /venv/cupy_backends/cuda/api/driver.cpython-38-x86_64-linux-gnu.so: "
        "undefined symbol: cuDevicePrimaryCtxRelease_v2",
        source="cupy/cupy#3827",
        group="mixed",
        shared=True,
    ),
    Check(
        "rocm-version",
        "this CuPy was built for another ROCm",
        "CuPy or a library of ROCm needs `{symbol}`, which the installed ROCm does not have. Each "
        "build of CuPy works with one version of ROCm.",
        (
            "Install the ROCm that this CuPy was built for; the wheel's name shows it.",
            "Or {rocm_install}.",
            "Keep only one version of ROCm on LD_LIBRARY_PATH.",
        ),
        says=(*_SYMBOLS, "undefined symbol: {symbol}, version hip_"),
        details=lambda machine, words: (
            {
                "rocm_install": "install a CuPy for the installed ROCm: a wheel (`cupy-rocm-7-0` "
                "for ROCm 7.0), or your own build with ROCM_HOME set"
            }
            if _symbol_belongs_to("ROCm")(machine, words)
            else None
        ),
        example="ImportError: "
        "/venv/cupy_backends/cuda/api/runtime.cpython-38-x86_64-linux-gnu.so: undefined symbol: "
        "_Z22hipCreateSurfaceObjectPyPK15hipResourceDesc, version hip_4.2",
        source="cupy/cupy#7358",
        group="mixed",
        shared=True,
    ),
    Check(
        "other-cuda",
        "libraries of another CUDA version are loaded",
        "CuPy was built for one major version of CUDA and loads libraries of another, or the "
        "driver is too old for them. PyTorch 2.11 and later install libraries of CUDA 13.",
        (
            'Use a PyTorch for the CUDA of this CuPy. For CUDA 12: `{pip} install "torch<2.11"`.',
            "Or use the CuPy for the other CUDA (`cupy-cuda13x` instead of `cupy-cuda12x`), if the "
            "driver supports that CUDA. `nvidia-smi` shows the newest that it supports.",
        ),
        says=(
            "(): CUDA context cannot be initialized",
            ": {linked} (linked to CuPy) / {local} (locally installed)",
        ),
        details=lambda machine, words: (
            None if words and words["linked"][:-3] == words["local"][:-3] else words
        ),
        example="CUDA Runtime Version : 12090 (linked to CuPy) / 13000 (locally installed)",
        source="cupy/cupy#9827",
        shared=True,
    ),
    Check(
        "mixed-libraries",
        "a CUDA library of the wrong version is loaded",
        "CuPy or another library needs `{symbol}`, which the loaded version of {library} does not "
        "have. That version comes from another CUDA: the system's toolkit, LD_LIBRARY_PATH, "
        "PyTorch, or another `nvidia-...` package.",
        ("Upgrade CUDA within its major version: {toolkit}.", *_NEWER),
        says=_SYMBOLS,
        details=_symbol_belongs_to(*_OTHER),
        unless=("/torch/lib/", "libtorch"),
        example="ImportError: "
        "/venv/cupy_backends/cuda/libs/cusparse.cpython-36m-x86_64-linux-gnu.so: symbol "
        "cusparseDenseToSparse_convert version libcusparse.so.11 not defined in file "
        "libcusparse.so.11 with link time reference",
        source="cupy/cupy#5313",
        group="mixed",
        shared=True,
    ),
    Check(
        "library-version",
        "a library's version does not match its file name",
        "{user} needs {file}, but the file with that name has another version. It belongs to "
        "another CUDA or another package.",
        (
            "Remove the folders of other CUDA versions from LD_LIBRARY_PATH, and delete copies of "
            "{file} and links to it that do not belong to this CUDA.",
            "Reinstall the CUDA that CuPy is for: {toolkit}.",
        ),
        says=("version `{file}' not found (required by {/user})",),
        details=_file_matches(_CUDA),
        example="ImportError: /venv/nvidia/cu13/lib/libnvJitLink.so.13: version "
        "`libnvJitLink.so.13' not found (required by /venv/nvidia/cu13/lib/libcusparse.so.12)",
        source="seen with nvJitLink of CUDA 12 under the name of CUDA 13's",
        group="mixed",
        shared=True,
    ),
    Check(
        "libstdcxx",
        "the C++ library is missing or too old",
        "CuPy's extension modules need a newer libstdc++ than the one that was loaded, or none was "
        "loaded.",
        (
            "Install a newer libstdc++ (`apt install libstdc++6`, or `conda install -c "
            "conda-forge libstdcxx-ng`).",
            "Make sure that LD_LIBRARY_PATH and LD_PRELOAD do not select an older one.",
        ),
        says=(
            "undefined symbol: __gxx_personality_v0",
            "undefined symbol: _ZTVN10__cxxabiv1",
            "version `GLIBCXX_{version}' not found",
            "version `CXXABI_{version}' not found",
        ),
        example="ImportError: /lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required "
        "by /venv/cupy/_core/core.so)",
        source="cupy/cupy#9464",
    ),
    Check(
        "glibc",
        "the system's C library is too old",
        "The library was compiled for a newer Linux and needs glibc {version}.",
        (
            "Install an older CuPy, whose wheels support older systems. An up-to-date pip selects "
            "a suitable one: `{pip} install --upgrade pip`.",
            "Or use a newer system, or a container with one.",
        ),
        says=("version `GLIBC_{version}' not found",),
        needs=("cupy",),
        example="ImportError: /lib64/libc.so.6: version `GLIBC_2.28' not found (required by "
        "/venv/cupy/_core/core.so)",
        source="read in manylinux",
    ),
    Check(
        "static-tls",
        "a library was loaded too late",
        "Other libraries have used up the C library's space for thread-local storage.",
        (
            "Import CuPy first in the program.",
            "Or preload the library that the message names: `LD_PRELOAD=/path/to/it python ...`.",
        ),
        says=("cannot allocate memory in static TLS block",),
        needs=("cupy",),
        example="ImportError: /usr/lib/aarch64-linux-gnu/libgomp.so.1: cannot allocate memory in "
        'static TLS block\n  File "/venv/cupy/__init__.py", line 17',
        source="read in glibc",
    ),
    Check(
        "damaged",
        "a library's file is damaged",
        "The file is truncated or not a library: an installation was interrupted, or the disk was "
        "full.",
        ("Reinstall CuPy: {reinstall}.",),
        says=("file too short", "invalid ELF header"),
        unless=("libcuda.so", "libnvidia-"),
        needs=("cupy",),
        example="ImportError: /venv/cupy/_core/core.cpython-312-x86_64-linux-gnu.so: file too "
        "short",
        source="made with a cut file",
    ),
    Check(
        "driver-library",
        "this CuPy cannot be imported without an NVIDIA driver",
        "CuPy before 13 links to the NVIDIA driver's library libcuda.so.1. This machine (or "
        "container, or login node of a cluster) has no driver.",
        (
            "Run the program on a machine with a GPU: on a compute node (`srun --gres=gpu:1`), or "
            "in a container started with GPUs (`docker run --gpus all`).",
            "If the machine has a GPU, install the NVIDIA driver.",
            "To import CuPy without a driver, upgrade to CuPy 13 or later: {upgrade}.",
        ),
        says=(
            "libcuda.so.1: file too short",
            "libcuda.so.1: cannot open shared object file",
            "libcuda.so: cannot open shared object",
        ),
        example="ImportError: libcuda.so.1: cannot open shared object file: No such file or "
        "directory",
        source="cupy/cupy#1790",
        condition=lambda machine: all(release(each) < (13, 0, 0) for each in machine.versions),
    ),
    Check(
        "nvjitlink-missing",
        "cuSPARSE or cuSOLVER of CUDA 12 or later does not find nvJitLink",
        "A cuSPARSE or cuSOLVER of CUDA 12 or later was loaded, but its nvJitLink was not found. A "
        "CuPy for CUDA 11 can load them by mistake, because libcusolver.so.11 has the same name "
        "in CUDA 11 and 12.",
        (
            "Use the CuPy for the installed CUDA: {install}.",
            "Or remove the folders of other CUDA versions from LD_LIBRARY_PATH.",
            "With CUDA 12 from wheels: `{pip} install nvidia-nvjitlink-cu12`.",
        ),
        says=("libnvJitLink.so.{version}: cannot open shared object file",),
        example="ImportError: libnvJitLink.so.12: cannot open shared object file: No such file or "
        "directory",
        source="cupy/cupy#7573",
    ),
    Check(
        "nvrtc",
        "CuPy 13 or earlier does not find NVRTC, which compiles its kernels",
        "CuPy's wheels do not contain the CUDA toolkit, and CuPy found no {own_toolkit}.",
        (
            "{toolkit}.",
            "Or install the CUDA toolkit, and set CUDA_PATH to its folder. On Linux, also add its "
            "`lib64` to LD_LIBRARY_PATH or ldconfig.",
        ),
        says=("CuPy failed to load libnvrtc", "CuPy failed to load nvrtc"),
        example="RuntimeError: CuPy failed to load libnvrtc.so.12: OSError: libnvrtc.so.12: "
        "cannot open shared object file: No such file or directory",
        source="cupy/cupy#8317",
        condition=lambda machine: not machine.rocm,
    ),
    Check(
        "toolkit",
        "CuPy 14 does not find libraries of the CUDA toolkit",
        "CuPy's wheels do not contain the CUDA toolkit, and CuPy found no {own_toolkit}. (The "
        "message always names a library of CUDA 13 first.)",
        (
            "Install CUDA's libraries as wheels: {toolkit}.",
            "Or install the CUDA toolkit, and set CUDA_PATH to its folder.",
        ),
        says=("DynamicLibNotFoundError", 'Failure finding "'),
        example='ImportError: Failure finding "libcublasLt.so.13 or libcublasLt.so.12": No such '
        "file",
        source="cupy/cupy#9318",
    ),
    Check(
        "library",
        "a library of the CUDA toolkit is missing",
        "CuPy does not find {library}. CuPy's wheels do not contain the CUDA toolkit, and each "
        "needs the CUDA version in its name.",
        (
            "{other_cuda}",
            "{toolkit}.",
            "If the toolkit is installed, make sure that CuPy finds it: on Linux, add its `lib64` "
            "to LD_LIBRARY_PATH.",
            "{newer_python}",
        ),
        says=(*_ABSENT, "Could not find module '{file}"),
        details=_file_matches(_CUDA),
        example="ImportError: libcudart.so.11.0: cannot open shared object file: No such file or "
        "directory",
        source="KiseKloset/DM-VTON#17",
        unless=("dso_loader", "tensorflow"),
        after=("nvrtc", "toolkit", "nvjitlink-missing"),
    ),
    Check(
        "rocm-library",
        "a library of AMD's ROCm is missing",
        "{library} was not found. This CuPy is for AMD GPUs. Its version of ROCm is not installed, "
        "or the loader does not find it.",
        (
            "For an AMD GPU: install the ROCm version in the wheel's name, and add its `lib` "
            "folder to LD_LIBRARY_PATH.",
            "Or install a CuPy for the installed ROCm.",
            "For an NVIDIA GPU: remove this CuPy, and install a `cupy-cuda...` wheel.",
        ),
        says=(*_ABSENT, "CuPy failed to load {file}: "),
        details=_file_matches(_HIP),
        example="ImportError: libamdhip64.so.5: cannot open shared object file: No such file or "
        "directory",
        source="made with pip",
    ),
    Check(
        "optional-missing",
        "an optional library is missing",
        "The program uses {library}, which CuPy's wheels do not contain.",
        ("Install it for CuPy: {optional}.",),
        says=_ABSENT,
        details=_optional,
        example="ImportError: libcutensor.so.2: cannot open shared object file: No such file or "
        "directory",
        source="made with pip",
    ),
    Check(
        "cuda-path",
        "CUDA_PATH names a folder without CUDA",
        "CuPy adds the folder `bin` of CUDA_PATH to Windows' search path, but it does not exist. "
        "CUDA_PATH must be the folder of an installed toolkit (`...\\CUDA\\v12.4`), not its `bin`.",
        ("Set CUDA_PATH to the folder of an installed CUDA toolkit, or unset it.",),
        says=("[WinError 2] {*}", "[WinError 3] {*}", "\\bin\\\\bin'", "\\bin\\bin'"),
        needs=("add_dll_directory", "_setup_win32_dll_directory"),
        example="FileNotFoundError: [WinError 2] The system cannot find the file specified: "
        "'C:\\\\CUDA\\\\v10.2\\\\bin\\\\bin'\n    os.add_dll_directory(os.path.join(cuda_path, "
        "'bin'))",
        source="cupy/cupy#2950",
    ),
    Check(
        "dll-procedure",
        "Windows loads a CUDA library of another version",
        "A library that CuPy needs was found, but it lacks a procedure, because its version is not "
        "the one that CuPy was built for. PyTorch and other packages contain their own CUDA "
        "libraries, and an older toolkit may come first on PATH.",
        (
            'Use a CuPy for the same CUDA as PyTorch: `python -c "import torch; '
            'print(torch.version.cuda)"` prints it.',
            "Or install the newest toolkit of the CUDA version that this CuPy is for, and put its "
            "`bin` first on PATH.",
        ),
        says=_dll(_PROCEDURE),
        needs=("cupy",),
        example="original error: DLL load failed while importing runtime: The specified procedure "
        "could not be found.\nImportError: CuPy is not correctly installed.",
        source="explosion/spaCy#8697",
        group="dll",
    ),
    Check(
        "dll-module",
        "Windows does not find a library that CuPy needs",
        "A library that CuPy's extension modules need is missing. Usually, there is no "
        "{own_toolkit}.",
        (
            "{toolkit}.",
            "If another CUDA is installed (with PyTorch, for example), remove this CuPy and "
            "install the one for that CUDA: {choose}.",
        ),
        says=_dll(_MODULE),
        needs=("cupy",),
        example="ImportError: DLL load failed while importing runtime: The specified module could "
        "not be found.\nFailed to import CuPy.",
        source="Fannovel16/ComfyUI-Frame-Interpolation#32",
        group="dll",
    ),
    Check(
        "dll-start",
        "a library that CuPy needs fails to initialize on Windows",
        "The library was found, but its initialization failed. Usually, the Visual C++ runtime is "
        "older than the library needs.",
        (
            "Install the newest Microsoft Visual C++ Redistributable (x64).",
            "If you use PyTorch, import it before CuPy, and use the same CUDA version for both.",
        ),
        says=("DLL load failed{*}A dynamic link library (DLL) initialization routine failed",),
        needs=("cupy",),
        example="ImportError: DLL load failed while importing core: A dynamic link library (DLL) "
        "initialization routine failed.\nFailed to import CuPy.",
        source="read in Windows",
        group="dll",
    ),
    Check(
        "dll-format",
        "a library that CuPy needs is damaged, or for another processor",
        "Windows reports this for a truncated file, and if a 32-bit Python loads a 64-bit library.",
        (
            "Use a 64-bit Python: `python -c \"import struct; print(struct.calcsize('P'))\"` "
            "prints 8.",
            "If it is 64-bit: {reinstall}.",
        ),
        says=("DLL load failed{*}%1 is not a valid Win32 application",),
        needs=("cupy",),
        example="ImportError: DLL load failed while importing core: %1 is not a valid Win32 "
        "application.\nFailed to import CuPy.",
        source="read in Windows",
        group="dll",
    ),
    Check(
        "paging-file",
        "Windows has too little memory to load a library",
        "CUDA's libraries are large, and each process that loads them uses a part of the paging "
        "file.",
        (
            "Enlarge the paging file (Windows calls it virtual memory).",
            "Start fewer processes that import CuPy or PyTorch.",
        ),
        says=("The paging file is too small for this operation to complete",),
        needs=("cupy",),
        example="OSError: [WinError 1455] The paging file is too small for this operation to "
        "complete. Error loading cupy",
        source="read in Windows",
        group="dll",
    ),
    Check(
        "dll",
        "Windows cannot load an extension module of CuPy",
        "A library that CuPy needs is missing or has another version. The message says which, in "
        "the language of this Windows.",
        (
            "If a module was not found: {toolkit}, or install the CUDA toolkit that this CuPy is "
            "for.",
            "If a procedure was not found: use the same CUDA version for CuPy, PyTorch and PATH.",
        ),
        says=("DLL load failed while importing {module}: ", "DLL load failed: "),
        needs=("cupy",),
        example="ImportError: DLL load failed while importing _util: Das System kann die Datei "
        "nicht öffnen.\nFailed to import CuPy.",
        source="read in CPython",
        after=("dll-module", "dll-procedure", "dll-start", "dll-format", "paging-file", "damaged"),
    ),
    Check(
        "cuda-path-warning",
        "CuPy warns that it found no CUDA toolkit",
        "The warning alone is harmless: CuPy works if it finds CUDA's libraries in another way.",
        ("If CuPy fails later, look at that error.",),
        says=("CUDA path could not be detected",),
        example="UserWarning: CUDA path could not be detected. Set CUDA_PATH environment variable "
        "if CuPy fails to load.",
        source="explosion/spaCy#10918",
        remark=True,
    ),
    Check(
        "optional-library",
        "an optional library (cuTENSOR, NCCL, cuDNN) could not be loaded",
        "CuPy works without {library}, except for the features that use it.",
        ("If you need it, run the command in the warning.",),
        says=(
            "cutensor library could not be loaded",
            "nccl library could not be loaded",
            "cudnn library could not be loaded",
        ),
        details=lambda machine, words: {"library": "that library"},
        example="cutensor library could not be loaded.",
        source="made with pip",
        remark=True,
    ),
)

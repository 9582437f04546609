"""What can be wrong with a CuPy: a table, to which one more check is a few lines.

A check names itself, says in a line what it looks for, and holds the cause and the cures, the best
one first. It finds something by what is said (``says``, a pattern searched for in every failure and
warning) or by what the case shows (``shows``); ``given`` must hold besides, for texts that have
several causes. Braces in the texts are `Case.words`, or groups of the pattern.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cupy_compat.doctor.case import Case


@dataclass(frozen=True)
class Check:
    """One thing that can be wrong.

    Attributes
    ----------
    name : str
        By which it is listed and reported.
    about : str
        One line: what is wrong.
    cause : str
        Why, in words for those who meet it.
    cures : tuple of str
        What to do, the best first.
    says : str or None
        A regular expression for what CuPy, Python or pip say then.
    shows : callable or None
        Whether a case shows it without a word.
    given : callable or None
        What must hold of a case besides.
    breaks : bool
        Whether what is shown without a word makes the import fail.
    """

    name: str
    about: str
    cause: str
    cures: tuple[str, ...]
    says: str | None = None
    shows: Callable[[Case], bool] | None = None
    given: Callable[[Case], bool] | None = None
    breaks: bool = False


_REPAIR = (
    "Where CuPy must stay as it is: `import cupy_compat` on a line before `import cupy`{always}.",
    "Where no line can be added: `cupy-compat enable` arms every start of this Python; so does "
    "`python -m pip install cupy-compat-auto`{always}; `cupy-compat run SCRIPT` arms one program.",
)
_REINSTALL = (
    "Remove all and install one: `python -m pip uninstall -y {distributions}`, then "
    "`python -m pip install {wheel}`.",
)
_TOOLKIT = (
    'With CuPy 14 and later: `python -m pip install "{own}[ctk]"` brings the toolkit\'s parts.',
    "Or install the CUDA {major} toolkit, and set CUDA_PATH to its folder.",
)

CHECKS = (
    Check(
        "memoize",
        "CuPy's memoize cannot copy a function's name",
        "{cupy} is from before 13.5 and was compiled with Cython {cython}, as builds from source "
        "are; since Cython 3.1 its inner functions take no metadata then.",
        (
            "Upgrade CuPy to 13.5 or later: `python -m pip install --upgrade {upgrade}`. A wheel "
            "needs no building: `python -m pip uninstall -y {distributions}`, then "
            "`python -m pip install {wheel}`.",
            *_REPAIR,
            "Or build this CuPy again with `Cython<3.1`.",
        ),
        says=r"attribute '__name__' of 'builtin_function_or_method' objects is not writable",
    ),
    Check(
        "memoize-annotated",
        "CuPy's memoize cannot copy a function's annotations",
        "{cupy} was compiled with Cython 3.2.6, whose functions take no annotations on Python "
        "3.14.",
        ("Upgrade CuPy: `python -m pip install --upgrade {upgrade}`.", *_REPAIR),
        says=r"__annotate__\(\) missing 1 required positional argument",
    ),
    Check(
        "two-distributions",
        "several distributions of CuPy are installed over each other",
        "{distributions} bring the same package `cupy`; its files are those of whichever came "
        "last.",
        _REINSTALL,
        says=r"CuPy may not function correctly because multiple CuPy packages are installed",
        shows=lambda case: len(case.distributions) > 1,
    ),
    Check(
        "files-gone",
        "a distribution of CuPy is listed, but its files are gone",
        "Two distributions of CuPy were installed over each other, and the one that was removed "
        "took the files of both along.",
        _REINSTALL,
        # Names that every CuPy has; others are a matter of its version, or misspelt.
        says=r"(?<!partially initialized )module 'cupy' has no attribute "
        r"'(__version__|ndarray|array|zeros|ones|empty|arange|asnumpy|cuda)'(?! \(consider)|"
        r"No module named 'cupy'",
        shows=lambda case: case.found in ("nothing", "folder", "remains"),
        given=lambda case: bool(case.distributions),
        breaks=True,
    ),
    Check(
        "not-installed",
        "no CuPy is installed for this Python",
        "Nothing that brings CuPy is installed for Python {python}.",
        (
            "`python -m pip install {wheel}`, with the python of the environment that is meant; "
            "the number is the major version of CUDA that the driver serves (`nvidia-smi` says "
            "which).",
        ),
        says=r"No module named 'cupy'",
        shows=lambda case: case.found in ("nothing", "folder", "remains"),
        given=lambda case: not case.distributions,
        breaks=True,
    ),
    Check(
        "shadowed",
        "a file of another purpose is called cupy and hides CuPy",
        "`import cupy` finds {path}, which is not CuPy. (It was not run.)",
        ("Rename that file or folder.",),
        # A second import in one process, after a failed one, misses '_util'.
        says=r"partially initialized module 'cupy' (from '.*' )?has no attribute '(?!_util')|"
        r"module 'cupy' (from '.*' )?has no attribute '\w+' \(consider renaming|"
        r"cannot import name '\w+' from partially initialized module 'cupy' ",
        shows=lambda case: case.found == "stranger",
        breaks=True,
    ),
    Check(
        "numpy-too-old",
        "this CuPy was built for NumPy 2, and NumPy is older",
        "{cupy} cannot load the C interface of NumPy {numpy}: CuPy 14 wants NumPy 2.0 to 2.5.",
        (
            'Upgrade NumPy: `python -m pip install --upgrade "numpy>=2,<2.6"`.',
            'Where NumPy 1 must stay: `python -m pip install "{upgrade}<14"`.',
        ),
        says=r"numpy\.core\.multiarray failed to import|numpy\._core\.multiarray failed to import",
    ),
    Check(
        "numpy-too-new",
        "this CuPy was written before NumPy 2",
        "{cupy} uses names that NumPy 2 has no longer; CuPy 13.2 is the first that does without.",
        (
            "Upgrade CuPy: `python -m pip install --upgrade {upgrade}`.",
            'Where CuPy must stay as it is: `python -m pip install "numpy<2"`.',
        ),
        says=r"np\.\w+` was removed in the NumPy 2\.0 release|"
        r"module 'numpy' has no attribute '(AxisError|float_|complex_|Inf|product)'",
    ),
    Check(
        "numpy-abi",
        "an extension module was compiled for another NumPy",
        "Sizes of NumPy's types differ from those that an extension module was compiled with. The "
        "last frames of the traceback name its package, which is often not CuPy.",
        (
            "Upgrade that package, or install it again: `python -m pip install --upgrade "
            "--force-reinstall PACKAGE`.",
            "Where it has no release for NumPy {numpy}: install the NumPy that it was built for.",
        ),
        says=r"(numpy\.(dtype|ndarray|ufunc)|\S+) size changed.*Expected \d+ from C header, "
        r"got \d+",
    ),
    Check(
        "numpy-bounds",
        "NumPy is not one that this CuPy asks for",
        "{cupy} requires `{unmet}`, and NumPy {numpy} is installed.",
        ('`python -m pip install "{unmet}"`, or another CuPy.',),
        shows=lambda case: bool(case.unmet),
    ),
    Check(
        "nvrtc",
        "NVRTC, which compiles CuPy's kernels, is not found (CuPy 13)",
        "No toolkit of CUDA {major} is where CuPy looks; its wheels do not contain one.",
        (
            'Upgrade to CuPy 14 with the toolkit\'s parts: `python -m pip install "{own}[ctk]"`.',
            "Or install the CUDA {major} toolkit of the system, and set CUDA_PATH or "
            "LD_LIBRARY_PATH.",
            "Or take NVRTC alone, `python -m pip install nvidia-cuda-nvrtc-cu{major}`, and add its "
            "folder to LD_LIBRARY_PATH.",
        ),
        says=r"CuPy failed to load (libnvrtc\.so\.\d+|nvrtc64_\d+_0\.dll)",
    ),
    Check(
        "toolkit",
        "libraries of the CUDA toolkit are not found (CuPy 14)",
        "No toolkit of CUDA {major} is where CuPy looks; its wheels do not contain one. (That a "
        "library of CUDA 13 is named first means nothing.)",
        _TOOLKIT,
        says=r'DynamicLibNotFoundError|Failure finding "',
    ),
    Check(
        "toolkit-headers",
        "the headers of the CUDA toolkit are not found",
        "CuPy compiles kernels with headers of the toolkit, and finds no toolkit.",
        _TOOLKIT,
        says=r"Failed to find CUDA headers|Failed to auto-detect CUDA root directory",
    ),
    Check(
        "runtime-headers",
        "headers of the CUDA runtime are missing",
        "Since CUDA 12.2 the headers for half-precision numbers need those of the runtime.",
        (
            'CuPy 14 and later: `python -m pip install "{own}[ctk]"`.',
            'CuPy 13: `python -m pip install "nvidia-cuda-runtime-cu{major}=={major}.X.*"`, with '
            "the X of the installed NVRTC.",
        ),
        says=r'(cannot|could not) open source file "(vector_types|cuda_fp16|cuda_runtime)\.h"',
    ),
    Check(
        "library",
        "a library of the CUDA toolkit is missing",
        "{library} is not found: no toolkit of that version is installed, or the wheel is for "
        "another major version of CUDA.",
        (
            "See that the wheel fits the installed CUDA: `{wheel}` is the one for this driver or "
            "this environment.",
            *_TOOLKIT,
        ),
        # Where CuPy 13 says that it failed to load NVRTC, the above has it.
        says=r"(?<!OSError: )(?P<library>lib(cudart|cublas|cublasLt|cufft|curand|"
        r"cusolver|cusparse|nvrtc|nvJitLink)\.so(\.\d+)+): cannot open shared object file",
    ),
    Check(
        "driver-library",
        "a CuPy that needs the driver to be imported, and no driver",
        "CuPy before 13 links to the driver's libcuda.so.1, which this machine has not.",
        (
            "Upgrade CuPy, which imports without a driver since 13: "
            "`python -m pip install --upgrade {upgrade}`.",
            "Or install the NVIDIA driver; in a container, start it with GPUs "
            "(`docker run --gpus all`).",
        ),
        says=r"libcuda\.so\.1: cannot open shared object file",
    ),
    Check(
        "no-driver",
        "no NVIDIA driver is found",
        "There is no driver here, or the process cannot see it. (CUDA says that the driver's "
        "version is insufficient where there is none at all.)",
        (
            "On a machine without a GPU: nothing, CuPy can be imported and not used.",
            "Else install the NVIDIA driver; in a container, start it with GPUs "
            "(`docker run --gpus all`).",
        ),
        says=r"cudaErrorInsufficientDriver",
        given=lambda case: not case.driver,
    ),
    Check(
        "old-driver",
        "the NVIDIA driver is older than the CUDA that this CuPy is for",
        "The driver serves CUDA up to {driver}, and the wheel is for CUDA {major}.",
        (
            "Install the wheel for this driver: `python -m pip uninstall -y {distributions}`, then "
            "`python -m pip install {wheel}`.",
            "Or upgrade the driver.",
        ),
        says=r"cudaErrorInsufficientDriver",
        given=lambda case: bool(case.driver) or not case.facts,
    ),
    Check(
        "no-device",
        "the driver shows no GPU to this process",
        "CUDA_VISIBLE_DEVICES is {visible}; where it names GPUs of this machine or is not set, the "
        "process may be in a container or a job without GPUs, or, in WSL2, use another libcuda "
        "than the one in /usr/lib/wsl/lib.",
        (
            "Unset CUDA_VISIBLE_DEVICES, or set it to a GPU that `nvidia-smi -L` lists.",
            "Ask the container (`--gpus all`) or the job (`--gres=gpu:1`) for a GPU.",
            "In WSL2: put /usr/lib/wsl/lib first in LD_LIBRARY_PATH.",
        ),
        says=r"cudaErrorNoDevice|CUDA_ERROR_NO_DEVICE",
    ),
    Check(
        "newer-toolkit",
        "the CUDA toolkit is newer than the driver",
        "The toolkit compiled a kernel to a PTX that the driver does not know yet.",
        (
            "Upgrade the driver, or install the toolkit of the driver's version (`nvidia-smi` says "
            "which).",
        ),
        says=r"CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
    ),
    Check(
        "architecture",
        "NVRTC does not know the architecture of this GPU",
        "The GPU is newer than the toolkit, or so old that the toolkit has dropped it.",
        (
            "For a newer GPU: upgrade the toolkit and CuPy, "
            '`python -m pip install --upgrade "{own}[ctk]"`.',
            "For an older GPU: take a toolkit and a wheel of an earlier major version of CUDA.",
        ),
        says=r"invalid value for --gpu-architecture|NVRTC_ERROR_INVALID_OPTION",
    ),
    Check(
        "mixed-nvrtc",
        "two versions of NVRTC are mixed",
        "NVRTC looked for its other half, which is of another version or elsewhere; wheels of "
        "PyTorch and of NVIDIA bring NVRTCs of their own.",
        (
            "Let pip choose versions that agree: `python -m pip install --upgrade "
            '"{own}[ctk]" nvidia-cuda-nvrtc-cu{major}`.',
            "Or take the folders of other CUDAs out of LD_LIBRARY_PATH.",
        ),
        says=r"failed to open (lib)?nvrtc-builtins",
    ),
    Check(
        "other-python",
        "the extension modules of CuPy are for another Python",
        "None of CuPy's extension modules is one that Python {python} loads; they were installed "
        "for another version, or copied.",
        (
            "Install CuPy with the Python that is to run it: "
            "`python -m pip install --force-reinstall {upgrade}`.",
            "See that PYTHONPATH names no folder of another Python.",
        ),
        says=r"cannot import name '?core'? from partially initialized module 'cupy\._core'",
        shows=lambda case: case.other_abi,
        breaks=True,
    ),
    Check(
        "dependency",
        "a package that CuPy needs is not installed",
        "There is no module {module}; CuPy was installed without its dependencies (`--no-deps`), "
        "or they were removed.",
        ("`python -m pip install --upgrade {upgrade}`, which brings them.",),
        says=r"No module named '(?P<module>numpy|fastrlock|cuda|cuda\.pathfinder)'",
    ),
    Check(
        "cache",
        "CuPy cannot write its folder for compiled kernels",
        "{cache} cannot be made or written. CuPy 14 makes it while it is imported, CuPy 13 when it "
        "compiles the first kernel.",
        (
            "Set CUPY_CACHE_DIR to a folder that can be written, as "
            "`export CUPY_CACHE_DIR=/tmp/cupy-cache`.",
        ),
        says=r"_compiler_cache\.py[\s\S]*\b\w+Error: \[(Errno|WinError) \d+\]|"
        r"in _?compile_\w*cache\w*[\s\S]*\b\w+Error: \[(Errno|WinError) \d+\]",
        shows=lambda case: not case.cache_writable,
    ),
    Check(
        "rocm",
        "a wheel for AMD's ROCm, and not that ROCm",
        "{library} is not found: the wheel is for another version of ROCm, or for AMD GPUs on a "
        "machine without.",
        (
            "For an NVIDIA GPU: `python -m pip uninstall -y {distributions}`, then "
            "`python -m pip install cupy-cuda12x`.",
            "For an AMD GPU: install the ROCm that the wheel's name tells, or set LD_LIBRARY_PATH "
            "to its lib folder.",
        ),
        says=r"(?P<library>lib(amdhip64|hiprtc|rocblas|hipblas|hipfft|rocrand|rocsolver|roctx64|"
        r"rccl)\.so(\.\d+)*): cannot open shared object file",
    ),
    Check(
        "windows-library",
        "Windows finds no CUDA toolkit",
        "A library that CuPy's extension modules need is not found.",
        (
            'With CuPy 14 and later: `python -m pip install "{own}[ctk]"`.',
            "Or install the CUDA {major} toolkit, and set CUDA_PATH to its folder.",
        ),
        says=r"DLL load failed while importing|CUDA path could not be detected",
    ),
    Check(
        "no-wheel",
        "pip finds no wheel for this Python",
        "There is no wheel of that name for this Python and this platform: Python is older or "
        "newer than those that CuPy builds for, or the name is wrong.",
        (
            "Use a Python that CuPy has wheels for (3.10 to 3.14 with CuPy 14).",
            "For an older Python: an older CuPy (13.6 for 3.9).",
        ),
        says=r"satisfies the requirement cupy\S*.*\(from versions: none\)|"
        r"No matching distribution found for cupy",
    ),
    Check(
        "source-build",
        "pip builds CuPy from source and finds no CUDA",
        "`pip install cupy` takes the source distribution, which wants a CUDA toolkit and a "
        "compiler.",
        (
            "Install a wheel instead: `python -m pip install {wheel}`.",
            "To build it all the same: install the CUDA toolkit, and set CUDA_PATH.",
        ),
        says=r"CUDA could not be found on your system|Your CUDA environment is invalid",
    ),
    Check(
        "optional-library",
        "an optional library (cuTENSOR, NCCL, cuDNN) could not be loaded",
        "CuPy works without {library}; what is built upon it does not.",
        ("The warning itself names the command that installs it.",),
        says=r"(?P<library>cutensor|nccl|cudnn) library could not be loaded",
    ),
    Check(
        "libstdcxx",
        "the C++ library is missing or too old",
        "CuPy's extension modules were compiled with a newer libstdc++ than the one that was "
        "loaded, or none was.",
        (
            "Install a newer libstdc++ (`apt install libstdc++6`, "
            "`conda install -c conda-forge libstdcxx-ng`).",
            "See that LD_LIBRARY_PATH and LD_PRELOAD bring no older one.",
        ),
        says=r"undefined symbol: (__gxx_personality_v0|_ZTVN10__cxxabiv1)|"
        r"version .(GLIBCXX|CXXABI)_\S+ not found",
    ),
    Check(
        "crash",
        "the interpreter crashed",
        "The interpreter was ended by a fault in native code; the traceback says where.",
        (
            "Install CuPy and NumPy again: `python -m pip install --force-reinstall {upgrade}`.",
            "If it stays, report it to the project whose module is named last.",
        ),
        shows=lambda case: case.attempt is not None and case.attempt.end == "crashed",
    ),
    Check(
        "hang",
        "the import, or the GPU, did not answer in time",
        "The interpreter was ended at its time limit; the traceback says where it was.",
        (
            "Try again with more time: `cupy-compat doctor --time-limit 600`; a first import from "
            "a slow file system takes long.",
            "If it hangs while GPUs are counted: see whether `nvidia-smi` answers; if not, the "
            "driver needs a restart.",
        ),
        shows=lambda case: case.attempt is not None and case.attempt.end == "timed out",
    ),
    Check(
        "no-repair",
        "CuPy could be repaired, but cupy_compat cannot do it here",
        "Armed for a trial, cupy_compat failed: {repair_failure}.",
        ("Install it again: `python -m pip install --upgrade --force-reinstall cupy-compat`.",),
        shows=lambda case: bool(case.repair_failure),
    ),
)

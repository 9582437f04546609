"""The values for the names in braces in the texts of the checks.

If the properties of a machine determine one command, the cure contains it; otherwise the cure lists
the alternatives. No other module decides which wheel suits a machine.
"""

from __future__ import annotations

from importlib.util import find_spec
from shutil import which

from .machine import Machine
from .wheels import CHECKED, NEWEST, PYTHONS, WHEELS, Wheel, cuda_of, release, retired

#: Stand-ins for the parts of a message, for checks that apply without one.
DEFAULTS = {
    "attribute": "the name",
    "digit": "",
    "file": "a library",
    "fitting": "Omit the version",
    "first": "",
    "header": "a header",
    "import": "import cupyx",
    "instead": "Use the name that replaced it",
    "library": "a library",
    "looks": "",
    "module": "of that name",
    "nvjitlink": "nvidia-nvjitlink-cu12",
    "optional": "as CuPy's installation guide says",
    "package": "NAME",
    "reason": "The index has no distribution with that name.",
    "rocm_install": "install a CuPy for the installed ROCm",
    "span": "Each CuPy has wheels for some Pythons",
    "symbol": "a function",
    "user": "A library",
    "version": "such version",
}

_PYTHON = f"use a Python with CuPy wheels ({PYTHONS} for CuPy {NEWEST}, as of {CHECKED})"

#: The oldest Python of CuPy 14, whose extra ctk installs CUDA's libraries.
_CTK = (3, 10)
_ROCM = (
    "`{pip} install cupy-rocm-7-0` for ROCm 7.0; for another ROCm, build CuPy: "
    "`CUPY_INSTALL_USE_HIP=1 ROCM_HOME=/opt/rocm HCC_AMDGPU_TARGET=gfx... {pip} install cupy`"
)


def of(machine: Machine) -> dict[str, str]:
    """Return the values for one machine.

    ``{install}``, ``{upgrade}``, ``{reinstall}`` and ``{toolkit}`` are complete instructions
    without a full stop; the others are names.
    """
    return {
        "cupy": "CuPy " + " and ".join(machine.versions) if machine.versions else "This CuPy",
        "python": f"Python {machine.python}" if machine.python else "this Python",
        "path": machine.path or "a file named cupy",
        "numpy": f"NumPy {machine.numpy}" if machine.numpy else "the installed NumPy",
        "unmet": machine.unmet or "numpy>=2,<2.6",
        "cuda": f"CUDA {machine.cuda}" if machine.cuda else "a newer CUDA",
        "own_toolkit": _own_toolkit(machine),
        "driver": f"CUDA {_cuda_version(machine.driver)}" if machine.driver else "an older CUDA",
        "cache": str(machine.cache.get("path") or "The folder for compiled kernels"),
        "visible": _visible(machine),
        "pip": machine.pip,
        "newest": NEWEST,
        "pythons": PYTHONS,
        "install": _install(machine),
        "upgrade": _upgrade(machine),
        "reinstall": _reinstall(machine),
        "toolkit": _toolkit(machine),
        "older": _older(machine),
        "newer": _newer(machine),
        **_gpu(machine),
        "build_toolkit": (
            "install ROCm with its headers, set CUPY_INSTALL_USE_HIP=1 and ROCM_HOME"
            if machine.rocm
            else "install the CUDA toolkit, set CUDA_PATH to its folder"
        ),
        "compiler": _compiler(machine),
        "choose": _install_for_machine(machine),
        "other_cuda": _other_cuda(machine),
        "newer_python": _newer_python(machine),
        "repair": _repair(machine),
        "rebuild": _rebuild(machine),
    }


def wheel(machine: Machine) -> Wheel | None:
    """Return the wheel that suits a machine, None if none does or too little is known."""
    names = [name for name in machine.distributions if name in WHEELS]
    if not names and machine.rocm:
        return None
    major = machine.driver // 1000 if machine.driver else machine.cuda
    if not machine.rocm and major is not None:
        # A driver also supports older CUDA versions.
        names.insert(0, f"cupy-cuda{min(major, 13)}x")
    suitable = [WHEELS[name] for name in names if name in WHEELS]
    if machine.driver:
        suitable = [each for each in suitable if not each.name.startswith("cupy-rocm")] or suitable
    return next((each for each in suitable if each.supports(machine.python)), None)


def _install(machine: Machine) -> str:
    if machine.conda:
        return "`conda install -c conda-forge cupy`"
    if machine.system == "macOS":
        return "use a machine with an NVIDIA or AMD GPU: CuPy has no wheels for macOS"
    if not _has_wheel(machine):
        return _install_for_machine(machine)
    if machine.cuda and machine.cuda < 11 and not machine.driver:
        return (
            f"upgrade the NVIDIA driver (no current CuPy supports CUDA {machine.cuda}), then "
            + _install_for_machine(machine)
        )
    suitable = wheel(machine)
    if suitable is not None:
        return f"`{machine.pip} install {suitable.name}`"
    return _ROCM.format(pip=machine.pip) if machine.rocm else _install_for_machine(machine)


def _install_for_machine(machine: Machine) -> str:
    """Return how to install the wheel for the CUDA of the machine, not of the installed CuPy."""
    if machine.driver:
        return f"`{machine.pip} install cupy-cuda{min(max(machine.driver // 1000, 11), 13)}x`"
    has_wheel = _has_wheel(machine)
    pip, python = (machine.pip, machine.python) if has_wheel else ("python -m pip", None)
    names = [name for name in ("cupy-cuda12x", "cupy-cuda13x") if WHEELS[name].supports(python)]
    choice = ", ".join(f"`{pip} install {name}` for {WHEELS[name].platform}" for name in names)
    choice += " (`nvidia-smi` shows the newest CUDA that the driver supports)"
    return choice if has_wheel else f"{_PYTHON}, and there {choice}"


def _has_wheel(machine: Machine) -> bool:
    """Return whether a wheel exists for the machine's Python."""
    return any(each.supports(machine.python) for each in WHEELS.values())


def _other_cuda(machine: Machine) -> str:
    """Return what to do if another CUDA is installed; empty if there is no wheel."""
    if not _has_wheel(machine):
        return ""
    install = _install_for_machine(machine)
    return f"If the machine has another CUDA version: uninstall this CuPy, then {install}."


def _newer_python(machine: Machine) -> str:
    return "" if _has_wheel(machine) else f"Or {_install_for_machine(machine)}."


#: The oldest compute capability that each CUDA version supports, for CUDAs with a current CuPy.
_NEWEST_CUDA = ((75, 13), (50, 12), (35, 11))
#: The first CUDA version that supports a compute capability, newest first.
_FIRST_CUDA = ((100, "12.8"), (89, "11.8"), (86, "11.1"), (80, "11.0"), (75, "10.0"), (70, "9.0"))


def _gpu(machine: Machine) -> dict[str, str]:
    """Return what to do about a GPU that is too new or too old for its CUDA."""
    new = (
        f"For a newer GPU, upgrade CUDA and CuPy: {_toolkit(machine)}. An RTX 50 needs CUDA 12.8 "
        "or later."
    )
    old = (
        "For an older GPU, use a CUDA that still supports it, and the CuPy for that CUDA: CUDA 13 "
        "does not support GPUs before Turing, CUDA 12 those before Maxwell."
    )
    either = {"new_gpu": new, "old_gpu": old}
    capability = machine.capability
    if capability is None:
        return either
    gpu = f"The GPU has compute capability {capability // 10}.{capability % 10}"
    cuda = machine.nvrtc or machine.cuda
    newest = next((each for oldest, each in _NEWEST_CUDA if capability >= oldest), None)
    first = next((each for lowest, each in _FIRST_CUDA if capability >= lowest), "8.0")
    if newest is None:
        old = f"{gpu}, which no CUDA of a current CuPy supports: use a newer GPU."
        return {"new_gpu": "", "old_gpu": old}
    if cuda is not None and cuda > newest:
        old = (
            f"{gpu}, which CUDA {cuda} does not support. Uninstall this CuPy, and install the one "
            f"for CUDA {newest}: `{machine.pip} install cupy-cuda{newest}x`."
        )
        return {"new_gpu": "", "old_gpu": old}
    if cuda is not None and cuda > int(first.partition(".")[0]):
        return either
    upgrade = _newer(machine) if _has_wheel(machine) else _install_for_machine(machine)
    return {"new_gpu": f"{gpu}, which needs CUDA {first} or later: {upgrade}.", "old_gpu": ""}


def _compiler(machine: Machine) -> str:
    if machine.system == "Windows":
        return (
            "Install a version of Visual Studio that this CUDA accepts, or a newer CUDA toolkit. "
            "CuPy 13 and later compile kernels without Visual Studio."
        )
    return (
        'Use an older compiler (`NVCC="nvcc --compiler-bindir gcc-12"`), or a newer CUDA toolkit.'
    )


def _own_toolkit(machine: Machine) -> str:
    name = _only_distribution(machine)
    cuda = cuda_of(name) if name and retired(name) else machine.cuda
    return f"CUDA {cuda} toolkit" if cuda else "CUDA toolkit"


def _upgrade(machine: Machine) -> str:
    if machine.conda:
        return "`conda update -c conda-forge cupy`"
    own = _only_distribution(machine)
    if not _has_wheel(machine):
        return _install(machine)
    if own == "cupy":
        return f"`{machine.pip} install --upgrade cupy` (which builds it from source again)"
    if own is not None:
        if own not in WHEELS:
            return f"remove `{own}` (`{machine.pip} uninstall {own}`) and {_install(machine)}"
        if not WHEELS[own].supports(machine.python):
            return _install(machine)
        return f"`{machine.pip} install --upgrade {own}`"
    return (
        f"`{machine.pip} install --upgrade NAME`, with the name that `{machine.pip} list` shows "
        "(`cupy`, `cupy-cuda12x`, ...)"
    )


def _reinstall(machine: Machine) -> str:
    if machine.conda:
        return "`conda install --force-reinstall -c conda-forge cupy`"
    suitable = wheel(machine)
    if not machine.here or not machine.distributions:
        return (
            f"uninstall every CuPy in `{machine.pip} list` (`cupy`, `cupy-cuda...`, "
            f"`cupy-rocm-...`), then {_install(machine)}"
        )
    own = _only_distribution(machine)
    if own is not None and (own == "cupy" or (suitable is not None and suitable.name == own)):
        return f"`{machine.pip} install --force-reinstall --no-deps {own}`"
    names = " ".join(machine.distributions)
    return f"`{machine.pip} uninstall -y {names}`, then {_install(machine)}"


def _toolkit(machine: Machine) -> str:
    if machine.conda:
        major = machine.cuda or 12
        return f"`conda install -c conda-forge cupy cuda-version={major}`"
    own = _only_distribution(machine)
    if own is not None and retired(own):
        return f"install the {_own_toolkit(machine)}, and set CUDA_PATH to its folder"
    if machine.python and release(machine.python) < _CTK:
        return "install the newest toolkit of CuPy's CUDA version, and set CUDA_PATH to its folder"
    suitable = WHEELS.get(own) if own in WHEELS else wheel(machine)
    if suitable is not None and suitable.name == "cupy-cuda11x":
        return "install the CUDA 11 toolkit, and set CUDA_PATH to its folder"
    if suitable is not None and suitable.name.startswith("cupy-cuda") and own != "cupy":
        return f'`{machine.pip} install --upgrade "{suitable.name}[ctk]"` (CuPy 14)'
    if own == "cupy" and suitable is not None:
        return f"install the {suitable.platform} toolkit, and set CUDA_PATH to its folder"
    return (
        f'`{machine.pip} install --upgrade "cupy-cuda12x[ctk]"` for CUDA 12, "cupy-cuda13x[ctk]" '
        "for CUDA 13 (CuPy 14); for CUDA 11, install its toolkit"
    )


def _newer(machine: Machine) -> str:
    """Return how to install CUDA 12.8 or later, which supports the newest GPUs."""
    later = machine.distributions in (("cupy-cuda12x",), ("cupy-cuda13x",))
    install = f'`{machine.pip} install --upgrade "cupy-cuda12x[ctk]"`'
    if later or machine.conda:
        return _toolkit(machine)
    if machine.distributions:
        return f"`{machine.pip} uninstall -y {' '.join(machine.distributions)}`, then {install}"
    return f"{install}, after uninstalling any CuPy with another name"


def _older(machine: Machine) -> str:
    own = _only_distribution(machine)
    if own in WHEELS:
        return f'install a CuPy before 14: `{machine.pip} install "{own}<14"`'
    return f'install a CuPy before 14: for CUDA 12, `{machine.pip} install "cupy-cuda12x<14"`'


def _repair(machine: Machine) -> str:
    always = ""
    if machine.python is None or release(machine.python, 2) < (3, 13, 0):
        always = " Before Python 3.13, also set CUPY_COMPAT=always in the environment."
    first = "Keep" if _has_shim(machine) else f"Or `{machine.pip} install cupy-compat`, keep"
    return (
        f"{first} this CuPy, and write `import cupy_compat` before `import cupy`.{always} "
        "Alternatively, `cupy-compat enable` repairs CuPy at every start of this Python, and "
        "`cupy-compat run SCRIPT` for one program."
    )


def _rebuild(machine: Machine) -> str:
    writable = machine.facts.get("cupy", {}).get("writable")
    if not (_has_shim(machine) and writable and find_spec("cupy_compat.rebuild")):
        return ""
    if not any(map(which, ("g++", "c++", "clang++"))):
        return ""
    return "`cupy-compat rebuild` recompiles the broken module, and can undo that."


def _has_shim(machine: Machine) -> bool:
    """Return whether cupy-compat is installed in the examined environment."""
    return machine.here and machine.pip == Machine.pip and __package__ == "cupy_compat.doctor"


def _only_distribution(machine: Machine) -> str | None:
    """Return the only distribution of CuPy, None if there is none or several."""
    return machine.distributions[0] if len(machine.distributions) == 1 else None


def _visible(machine: Machine) -> str:
    if not machine.here:
        return "CUDA_VISIBLE_DEVICES may hide it"
    value = machine.environment.get("CUDA_VISIBLE_DEVICES")
    return "CUDA_VISIBLE_DEVICES is " + ("not set" if value is None else repr(value))


def _cuda_version(driver: int) -> str:
    return f"{driver // 1000}.{driver % 1000 // 10}"

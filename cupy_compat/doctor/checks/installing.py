"""Checks: pip, uv or conda cannot install CuPy; a trial of CuPy crashes or hangs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..machine import Machine
from ..wheels import CHECKED, NEWEST, PYTHONS, WHEELS, cuda_of, release, retired
from ._check import Check

_NONE = (
    "satisfies the requirement {/requirement} (from versions: {none})",
    "satisfies the requirement {/requirement} (from versions: )",
    "No matching distribution found for {/requirement}",
)


def _split_requirement(requirement: str) -> tuple[str, str]:
    """Return the name and the version of a requirement; the version may be empty."""
    name, _, version = re.split(r"([=<>~!]+|$)", requirement, maxsplit=1)
    return name.partition("[")[0].lower().replace("_", "-"), version.rstrip(".,")


def _known_distribution(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    name, _ = _split_requirement(words["requirement"])
    if name not in WHEELS:
        return None
    wheel = WHEELS[name]
    span = f"`{name}` has wheels for Python {wheel.oldest} to {wheel.newest} (as of {CHECKED})"
    if machine.python and wheel.supports(machine.python):
        return {
            "span": f"{span}, which includes {machine.python}. Either pip uses an index or a "
            "mirror without the newest releases",
            "fitting": "Check what pip finds, and where: "
            f"`{machine.pip} index versions {name}`, `{machine.pip} config list`",
        }
    python = f"Python {machine.python}" if machine.python else "this Python"
    return {
        "span": f"{span}. Either {python} is none of these",
        "fitting": "Use a Python with wheels: "
        + (PYTHONS if wheel.cupy == NEWEST else f"{wheel.oldest} to {wheel.newest}")
        + f" with CuPy {wheel.cupy}",
    }


def _any_version(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    none = words.get("none", "")
    # If there are wheels of other versions, or pip does not say, the version is the reason.
    if none not in ("none", "wheels") and (none or _split_requirement(words["requirement"])[1]):
        return None
    return _known_distribution(machine, words)


def _unknown_distribution(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    name, _ = _split_requirement(words["requirement"])
    if not name.startswith("cupy") or name in WHEELS or name in ("cupy", "cupy-wheel"):
        return None
    reason = f"The index has no distribution named `{name}`."
    if retired(name):
        reason = (
            f"`{name}` dates from the time when each minor version of CUDA had a distribution. It "
            "no longer gets releases, and has no wheels for newer Pythons."
        )
    return {"reason": reason, "instead": _replacement(name, machine)}


def _replacement(name: str, machine: Machine) -> str:
    """Return how to install a current CuPy for the CUDA in a distribution's name."""
    named = cuda_of(name)
    major = int(named.partition(".")[0]) if named else machine.cuda or 0
    choose = "`cupy-cuda12x` for CUDA 12, `cupy-cuda13x` for CUDA 13"
    if not major or major > 13:
        return choose
    if major < 11:
        return (
            f"No current CuPy supports CUDA {named or major}. Upgrade the NVIDIA driver (on a "
            f"Jetson, the JetPack), then install {choose}"
        )
    wheel = WHEELS[f"cupy-cuda{major}x"]
    if not wheel.supports(machine.python):
        return f"With Python {PYTHONS}: `python -m pip install {wheel.name}`"
    return f"`{machine.pip} install {wheel.name}`" + (
        ", which is for CUDA 11.2 and later" if major == 11 else ""
    )


def _wrong_version(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    name, version = _split_requirement(words["requirement"])
    if not version or (name not in WHEELS and name != "cupy"):
        return None
    cuda = re.fullmatch(r"(9|1[0-3])\.\d(\.\d+)?", version)
    wheel = version if version.startswith("cupy-") else name
    looks = " It looks like a version of CUDA." if cuda else ""
    fitting = f"Omit the version: `{machine.pip} install {name}`"
    if wheel not in WHEELS:
        fitting = _replacement(wheel, machine)
    elif wheel != name:
        looks = " It is the name of a wheel."
        fitting = f"`{machine.pip} install {wheel}`"
    old = machine.python is not None and release(machine.python, 2) < release(PYTHONS)
    return {
        "version": words["requirement"].rstrip(".,"),
        "looks": looks,
        "first": f"Use a newer Python: CuPy {NEWEST} has wheels for {PYTHONS}."
        if old and not looks
        else "",
        "fitting": fitting,
    }


INSTALLING = (
    Check(
        "no-such-version",
        "CuPy has no release with that version for this Python",
        "pip finds no `{version}` for this Python.{looks} CuPy has its own version numbers, and "
        "newer versions need newer Pythons.",
        ("{first}", "{fitting}.", "Or choose one of the versions that pip lists."),
        says=(
            "satisfies the requirement {/requirement} (from versions: {digit}",
            "No matching distribution found for {/requirement}",
            "there is no version of {/requirement}",
        ),
        details=_wrong_version,
        example="ERROR: Could not find a version that satisfies the requirement "
        "cupy-cuda12x==12.4 (from versions: 12.3.0, 13.0.0)",
        source="made with pip",
        after=("no-wheel", "no-wheel-macos", "network"),
    ),
    Check(
        "no-such-package",
        "there is no CuPy with that name, or no longer",
        "{reason} The names of the wheels contain only the major version of CUDA.",
        ("{instead}.",),
        says=(
            *_NONE,
            "{/requirement} was not found in the package registry",
            "depends on {/requirement} ({*}) which doesn't match any versions",
            "we only found wheels for `{/requirement}` (v",
        ),
        details=_unknown_distribution,
        example="ERROR: No matching distribution found for cupy-cuda121",
        source="made with pip",
        after=("network",),
    ),
    Check(
        "no-wheel",
        "pip finds no wheel for this Python",
        "{span}, or this system has no wheels (macOS, for example), or pip is too old to support "
        "them.",
        ("{fitting}.", "If your Python has wheels: `{pip} install --upgrade pip`, and try again."),
        says=(
            *_NONE,
            "{/requirement} has no {none} with a matching Python",
            "all versions of {/requirement} have no wheels with a matching Python",
            "we only found wheels for `{/requirement}` (v",
        ),
        details=_any_version,
        example="ERROR: Could not find a version that satisfies the requirement cupy-cuda13x "
        "(from versions: none)",
        condition=lambda machine: machine.system != "macOS",
        source="made with pip",
        after=("network",),
    ),
    Check(
        "no-wheel-macos",
        "there is no CuPy for macOS",
        "CuPy needs CUDA or ROCm, which do not exist for macOS.",
        ("Use a machine with an NVIDIA or AMD GPU. On a Mac, use NumPy.",),
        says=_NONE,
        details=_any_version,
        condition=lambda machine: machine.system == "macOS",
        example="ERROR: No matching distribution found for cupy-cuda12x\n  "
        "/Users/u/venv/lib/python3.12",
        source="read in CuPy",
        after=("network",),
    ),
    Check(
        "network",
        "pip cannot reach the package index",
        "pip could not connect to the index, or does not trust its certificate. It then reports "
        "that there are no versions.",
        (
            "Check whether the machine can reach https://pypi.org. If there is a proxy, set it "
            "(`--proxy` or HTTPS_PROXY).",
        ),
        says=(
            "Failed to establish a new connection",
            "Temporary failure in name resolution",
            "NewConnectionError",
            "ConnectTimeoutError",
            "CERTIFICATE_VERIFY_FAILED",
            "Cannot connect to proxy",
            "ReadTimeoutError",
        ),
        needs=(
            "no matching distribution",
            "satisfies the requirement",
            "retrying (retry",
            "downloading cupy",
        ),
        example="WARNING: Retrying (Retry(total=4)) after connection broken by "
        "'NewConnectionError: Failed to establish a new connection'\nERROR: No matching "
        "distribution found for cupy-cuda12x",
        source="read in pip",
        printed=True,
        group="build",
    ),
    Check(
        "wheel-file",
        "a wheel file is for another Python or system",
        "According to its name, the file is for another Python or system.",
        ("Let pip choose the file: {install}.",),
        says=("cupy{*} is not a supported wheel on this platform",),
        example="ERROR: cupy_cuda12x-13.0.0-cp310-cp310-win_amd64.whl is not a supported wheel on "
        "this platform.",
        source="read in pip",
    ),
    Check(
        "externally-managed",
        "the system manages this Python, and pip must not change it",
        "Linux distributions forbid pip to change their own Python (PEP 668).",
        (
            "Create a virtual environment, and install there: `python3 -m venv env`, then "
            "`env/bin/python -m pip install ...`.",
        ),
        says=("externally-managed-environment",),
        example="error: externally-managed-environment",
        source="read in pip",
        printed=True,
    ),
    Check(
        "disk-full",
        "the disk is full during the installation of CuPy",
        "CuPy with CUDA's libraries takes several gigabytes, and pip temporarily needs the same "
        "amount again.",
        ("Free some space, or set TMPDIR to a folder on a larger disk, and install again.",),
        says=("[Errno 28] No space left on device", "[Errno 122] Disk quota exceeded"),
        needs=("installing collected packages", "collecting cupy", "downloading cupy"),
        example="ERROR: Could not install packages due to an OSError: [Errno 28] No space left on "
        "device\nCollecting cupy-cuda12x",
        source="read in pip",
        printed=True,
    ),
    Check(
        "hashes",
        "the hash of a downloaded file differs from the requirements",
        "The requirements list hashes, and a file has another one. The download was incomplete, or "
        "the list is for other files.",
        (
            "Download it again: `{pip} cache purge`, then install with `--no-cache-dir`.",
            "If it happens again, regenerate the list of hashes.",
        ),
        says=("THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE",),
        needs=("cupy",),
        example="ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n"
        "    cupy-cuda12x from https://example.org/cupy_cuda12x.whl:",
        source="read in pip",
        printed=True,
    ),
    Check(
        "files-in-use",
        "a running program uses files that pip must replace",
        "On Windows, pip cannot replace libraries that a running Python has loaded.",
        ("Close all programs and notebooks that use this Python, and run pip again.",),
        says=("Could not install packages due to an OSError: [WinError {code}] {*}",),
        needs=("cupy", "~upy"),
        details=lambda machine, words: words if words["code"] in ("5", "32") else None,
        example="ERROR: Could not install packages due to an OSError: [WinError 5] Access is "
        "denied: 'C:\\\\venv\\\\cupy\\\\_core\\\\core.pyd'",
        source="read in pip",
        printed=True,
    ),
    Check(
        "conda-name",
        "conda has no package with that name",
        "The package on conda-forge is called `cupy`. Only pip's packages are named after CUDA.",
        (
            "Run `conda install -c conda-forge cupy`. Add `cuda-version=12` to select a CUDA "
            "version.",
        ),
        says=("- cupy-cuda",),
        needs=("packagesnotfounderror",),
        example="PackagesNotFoundError: The following packages are not available:  - cupy-cuda12x",
        source="read in conda",
    ),
    Check(
        "conda-no-cuda",
        "conda finds no NVIDIA driver",
        "conda-forge's CuPy requires a driver, which conda does not find on this machine.",
        (
            "On the machine with the GPU, check whether `nvidia-smi` works.",
            "To install on a machine without one, set `CONDA_OVERRIDE_CUDA=12.9` (the CUDA of the "
            "machine that will run it).",
        ),
        says=("nothing provides __cuda", "nothing provides requested __cuda"),
        example="nothing provides __cuda needed by cupy-13.4.1-py312h78400a1_1",
        source="read in conda",
    ),
    Check(
        "conflict",
        "CuPy and other packages require conflicting versions",
        "pip cannot satisfy all requirements: an extra or a package pins a version of CuPy or "
        "NumPy that another one excludes.",
        (
            "Install CuPy separately: first the program without the extra, then {install}.",
            "Or upgrade the package that pins the old version.",
        ),
        says=(
            "Cannot install {*}because these package versions have conflicting dependencies",
            "ResolutionImpossible",
        ),
        needs=("cupy",),
        example="ERROR: Cannot install spacy and spacy[cuda12x]==3.8.2 because these package "
        "versions have conflicting dependencies.\n    cupy-cuda12x 11.5.0 depends on numpy<1.26",
        source="explosion/spaCy#13681",
    ),
    Check(
        "conda-conflict",
        "conda cannot satisfy all requirements",
        "The requested packages and the installed ones need different versions of one package. "
        "With CuPy and RAPIDS, it is usually `cuda-version`.",
        (
            "Create a new environment with one CUDA version: `conda create -n NAME -c conda-forge "
            "cupy cuda-version=12`, with the other packages in the same command.",
            "Check which CUDA version conda finds: the line `__cuda` of `conda info`.",
        ),
        says=("Could not solve for environment specs", "UnsatisfiableError"),
        needs=("cupy",),
        example="error    libmamba Could not solve for environment specs\n    cupy >=12.0.0 *, "
        "which conflicts with any installable versions previously reported.",
        source="scverse/rapids_singlecell#345",
    ),
    Check(
        "cupy-wheel",
        "cupy-wheel cannot find out which CuPy this machine needs",
        "`cupy-wheel` searches for CUDA or ROCm during its installation, and found no version that "
        "it supports. Also, newer versions of pip reject its file name.",
        ("Install the wheel itself: {install}.",),
        says=(
            "Unable to detect NVIDIA CUDA or AMD ROCm installation",
            "cupy_wheel-{*} is not a valid wheel filename",
        ),
        example="AutoDetectionFailed: Unable to detect NVIDIA CUDA or AMD ROCm installation.",
        source="Fannovel16/ComfyUI-Frame-Interpolation#10",
        printed=True,
        group="build",
    ),
    Check(
        "crash",
        "the interpreter crashed",
        "A fault in native code killed the interpreter. The traceback, if there is one, shows "
        "where.",
        (
            "Reinstall CuPy: {reinstall}.",
            "If it still crashes, report it to the project of the last module in the traceback.",
        ),
        detects=lambda case: case.attempt is not None and case.attempt.end == "crashed",
    ),
    Check(
        "hang",
        "the import or the GPU exceeded the time limit",
        "The interpreter was killed at its time limit. The traceback shows where it hung.",
        (
            "Try again with more time: `cupy-compat doctor --time-limit 600`. The first import "
            "from a slow file system can take long.",
            "If it hangs in the step that counts GPUs, check whether `nvidia-smi` works. If not, "
            "restart the machine.",
        ),
        detects=lambda case: case.attempt is not None and case.attempt.end == "timed out",
    ),
    Check(
        "no-repair",
        "CuPy could be repaired, but cupy_compat cannot do it here",
        "A trial with cupy_compat failed: {repair_failure}.",
        ("Reinstall it: `{pip} install --upgrade --force-reinstall cupy-compat`.",),
        detects=lambda case: bool(case.repair_failure),
        remark=True,
    ),
)

"""pip and its like find no CuPy to install, or one that does not fit; and what a trial shows."""

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


def _split(requirement: str) -> tuple[str, str]:
    """Return the name and the version of a requirement, which may be nothing."""
    name, operator, version = re.split(r"([=<>~!]+|$)", requirement, maxsplit=1)
    return name.partition("[")[0].lower().replace("_", "-"), version.rstrip(
        ".,"
    ) if operator else ""


def _known(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    name, _ = _split(words["requirement"])
    if name not in WHEELS:
        return None
    wheel = WHEELS[name]
    span = f"`{name}` has wheels for Python {wheel.oldest} to {wheel.newest} (as of {CHECKED})"
    if machine.python and wheel.serves(machine.python):
        return {
            "span": f"{span}, and {machine.python} is among them. Either pip uses an index or a "
            "mirror that does not have the newest releases",
            "fitting": "See what pip finds, and where: "
            f"`{machine.pip} index versions {name}`, `{machine.pip} config list`",
        }
    python = f"Python {machine.python}" if machine.python else "this Python"
    return {
        "span": f"{span}. Either {python} is not among them",
        "fitting": "Use a Python that has wheels: "
        + (PYTHONS if wheel.cupy == NEWEST else f"{wheel.oldest} to {wheel.newest}")
        + f" with CuPy {wheel.cupy}",
    }


def _any_version(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    none = words.get("none", "")
    # Where there are wheels of other versions, or pip does not say, the version is the reason.
    if none not in ("none", "wheels") and (none or _split(words["requirement"])[1]):
        return None
    return _known(machine, words)


def _unknown(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    name, _ = _split(words["requirement"])
    if not name.startswith("cupy") or name in WHEELS or name in ("cupy", "cupy-wheel"):
        return None
    reason = f"The index has no distribution of the name `{name}`."
    if retired(name):
        reason = (
            f"`{name}` is of the time when each minor version of CUDA had a distribution. It gets "
            "no releases any more, and has no wheels for newer Pythons."
        )
    return {"reason": reason, "instead": _instead(name, machine)}


def _instead(name: str, machine: Machine) -> str:
    """Return how to get the CuPy of today for the CUDA in a distribution's name."""
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
    if not wheel.serves(machine.python):
        return f"With Python {PYTHONS}: `python -m pip install {wheel.name}`"
    return f"`{machine.pip} install {wheel.name}`" + (
        ", which is for CUDA 11.2 and later" if major == 11 else ""
    )


def _version(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    name, version = _split(words["requirement"])
    if not version or (name not in WHEELS and name != "cupy"):
        return None
    cuda = re.fullmatch(r"(9|1[0-3])\.\d(\.\d+)?", version)
    wheel = version if version.startswith("cupy-") else name
    looks = " It looks like a version of CUDA." if cuda else ""
    fitting = f"Leave the version out: `{machine.pip} install {name}`"
    if wheel not in WHEELS:
        fitting = _instead(wheel, machine)
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
        "CuPy has no release of that number for this Python",
        "pip finds no `{version}` for this Python.{looks} CuPy has versions of its own, and newer "
        "ones need newer Pythons.",
        (
            "{first}",
            "{fitting}.",
            "Or choose one of the versions that pip lists.",
        ),
        says=(
            "satisfies the requirement {/requirement} (from versions: {digit}",
            "No matching distribution found for {/requirement}",
            "there is no version of {/requirement}",
        ),
        details=_version,
        example="ERROR: Could not find a version that satisfies the requirement "
        "cupy-cuda12x==12.4 (from versions: 12.3.0, 13.0.0)",
        source="made with pip",
        after=("no-wheel", "no-wheel-macos", "network"),
    ),
    Check(
        "no-such-package",
        "there is no CuPy of that name, or no longer",
        "{reason} The wheels are named after the major version of CUDA alone.",
        ("{instead}.",),
        says=(
            *_NONE,
            "{/requirement} was not found in the package registry",
            "depends on {/requirement} ({*}) which doesn't match any versions",
            "we only found wheels for `{/requirement}` (v",
        ),
        details=_unknown,
        example="ERROR: No matching distribution found for cupy-cuda121",
        source="made with pip",
        after=("network",),
    ),
    Check(
        "no-wheel",
        "pip finds no wheel for this Python",
        "{span}, or the system has none (such as macOS), or pip is too old to know this system's "
        "wheels.",
        (
            "{fitting}.",
            "If the Python is among them: `{pip} install --upgrade pip`, and try again.",
        ),
        says=(
            *_NONE,
            "{/requirement} has no {none} with a matching Python",
            "all versions of {/requirement} have no wheels with a matching Python",
            "we only found wheels for `{/requirement}` (v",
        ),
        details=_any_version,
        example="ERROR: Could not find a version that satisfies the requirement cupy-cuda13x "
        "(from versions: none)",
        given=lambda machine: machine.system != "macOS",
        source="made with pip",
        after=("network",),
    ),
    Check(
        "no-wheel-macos",
        "there is no CuPy for macOS",
        "CuPy needs an NVIDIA or AMD GPU with CUDA or ROCm, which Macs do not have.",
        ("Use a machine with such a GPU. On a Mac, use NumPy, or a library for its own GPU.",),
        says=_NONE,
        details=_any_version,
        given=lambda machine: machine.system == "macOS",
        example="ERROR: No matching distribution found for cupy-cuda12x\n  "
        "/Users/u/venv/lib/python3.12",
        source="read in CuPy",
        after=("network",),
    ),
    Check(
        "network",
        "pip does not reach the package index",
        "pip could not connect to the index, or does not trust its certificate. It then reports "
        "that there are no versions.",
        (
            "See whether the machine reaches https://pypi.org, and set the proxy (`--proxy`, "
            "HTTPS_PROXY) if there is one.",
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
        "a wheel's file is for another Python or system",
        "The file's name names another Python or another system than this pip runs on.",
        ("Let pip choose the file: {install}.",),
        says=("cupy{*} is not a supported wheel on this platform",),
        example="ERROR: cupy_cuda12x-13.0.0-cp310-cp310-win_amd64.whl is not a supported wheel on "
        "this platform.",
        source="read in pip",
    ),
    Check(
        "externally-managed",
        "the system manages this Python, and pip must not change it",
        "Distributions of Linux forbid pip to change their own Python (PEP 668).",
        (
            "Make a virtual environment, and install there: `python3 -m venv env`, then "
            "`env/bin/python -m pip install ...`.",
        ),
        says=("externally-managed-environment",),
        example="error: externally-managed-environment",
        source="read in pip",
        printed=True,
    ),
    Check(
        "disk-full",
        "the disk is full while CuPy is installed",
        "CuPy with CUDA's libraries takes several gigabytes, and pip needs the same again for a "
        "while.",
        ("Make room, or set TMPDIR to a folder on a larger disk, and install again.",),
        says=("[Errno 28] No space left on device", "[Errno 122] Disk quota exceeded"),
        needs=("installing collected packages", "collecting cupy", "downloading cupy"),
        example="ERROR: Could not install packages due to an OSError: [Errno 28] No space left on "
        "device\nCollecting cupy-cuda12x",
        source="read in pip",
        printed=True,
    ),
    Check(
        "hashes",
        "a downloaded file is not the one that the requirements name",
        "The requirements list hashes, and a file has another one: it was downloaded in part, or "
        "the list is of other files.",
        (
            "Download it again: `{pip} cache purge`, then install with `--no-cache-dir`.",
            "If it happens again, make the list of hashes anew.",
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
        "a running program uses the files that pip wants to replace",
        "Windows does not let pip replace libraries that a running Python has loaded.",
        ("End all programs that use this Python (notebooks too), and run pip again.",),
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
        "conda has no package of that name",
        "conda-forge's package is called `cupy`; the names with CUDA in them are pip's.",
        ("`conda install -c conda-forge cupy`, with `cuda-version=12` to choose a CUDA.",),
        says=("- cupy-cuda",),
        needs=("packagesnotfounderror",),
        example="PackagesNotFoundError: The following packages are not available:  - cupy-cuda12x",
        source="read in conda",
    ),
    Check(
        "conda-no-cuda",
        "conda sees no NVIDIA driver",
        "conda-forge's CuPy asks for a driver, which conda does not see on this machine.",
        (
            "On the machine with the GPU, see whether `nvidia-smi` works.",
            "To install on a machine without one, set `CONDA_OVERRIDE_CUDA=12.9` (the CUDA of the "
            "machine that will run it).",
        ),
        says=("nothing provides __cuda", "nothing provides requested __cuda"),
        example="nothing provides __cuda needed by cupy-13.4.1-py312h78400a1_1",
        source="read in conda",
    ),
    Check(
        "conflict",
        "two packages ask for different versions beside CuPy",
        "pip cannot satisfy all requirements at once: an extra or a package pins a CuPy or a "
        "NumPy that another one excludes.",
        (
            "Install CuPy apart from that extra: first the program without it, then {install}.",
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
        "conda cannot satisfy all requirements at once",
        "The packages that are asked for, and those that are installed, need different versions of "
        "one package. With CuPy and RAPIDS it is most often `cuda-version`.",
        (
            "Make a new environment, and name one CUDA: `conda create -n NAME -c conda-forge cupy "
            "cuda-version=12`, with the other packages in the same command.",
            "See which CUDA conda finds: the line `__cuda` of `conda info`.",
        ),
        says=("Could not solve for environment specs", "UnsatisfiableError"),
        needs=("cupy",),
        example="error    libmamba Could not solve for environment specs\n    cupy >=12.0.0 *, "
        "which conflicts with any installable versions previously reported.",
        source="scverse/rapids_singlecell#345",
    ),
    Check(
        "cupy-wheel",
        "cupy-wheel does not find out which CuPy this machine needs",
        "`cupy-wheel` looks for CUDA or ROCm while it is installed, and found none that it knows; "
        "newer pips refuse its file's name as well.",
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
        "A fault in native code ended the interpreter. The traceback, if there is one, shows "
        "where.",
        (
            "Install CuPy again: {reinstall}.",
            "If it stays, report it to the project whose module is named last.",
        ),
        shows=lambda case: case.attempt is not None and case.attempt.end == "crashed",
    ),
    Check(
        "hang",
        "the import, or the GPU, did not answer in time",
        "The interpreter was ended at its time limit; the traceback shows where it was.",
        (
            "Try again with more time: `cupy-compat doctor --time-limit 600`. A first import from "
            "a slow file system takes long.",
            "If it hangs while GPUs are counted, see whether `nvidia-smi` answers; if not, "
            "restart the machine.",
        ),
        shows=lambda case: case.attempt is not None and case.attempt.end == "timed out",
    ),
    Check(
        "no-repair",
        "CuPy could be repaired, but cupy_compat cannot do it here",
        "Armed for a trial, cupy_compat failed: {repair_failure}.",
        ("Install it again: `{pip} install --upgrade --force-reinstall cupy-compat`.",),
        shows=lambda case: bool(case.repair_failure),
        remark=True,
    ),
)

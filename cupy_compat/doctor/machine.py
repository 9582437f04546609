"""The machine on which CuPy fails: an examined one, or the one that a text describes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from .wheels import release


@dataclass(frozen=True)
class Machine:
    """The properties of a machine that checks and cures depend on. None means unknown.

    Attributes
    ----------
    here : bool
        Whether the environment was examined, rather than described by a text.
    python : str or None
        The version of Python.
    pip : str
        The command for its pip.
    system : {'Linux', 'Windows', 'macOS'} or None
        The operating system.
    distributions : tuple of str
        The distributions of CuPy that are installed, or named in the text.
    versions : tuple of str
        Their versions.
    cuda : int or None
        The major version of CUDA for which CuPy was built.
    rocm : bool
        Whether CuPy is for AMD GPUs.
    conda : bool
        Whether conda manages CuPy.
    capability : int or None
        The compute capability of the GPU: 86 is 8.6.
    nvrtc : int or None
        The major version of NVRTC.
    built : bool
        Whether CuPy is being built from source.
    frozen : bool
        Whether the program was packaged, for example by PyInstaller.
    source_tree : bool
        Whether Python loads CuPy from its source folder.
    environment : mapping
        The relevant environment variables; empty for a text.
    driver : int or None
        The newest CUDA that the driver supports (12080 is 12.8), 0 without a driver.
    facts : mapping
        All facts about an environment, see `cupy_compat.doctor.facts`; empty for a text.
    """

    here: bool = False
    python: str | None = None
    pip: str = "python -m pip"
    system: str | None = None
    distributions: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    cuda: int | None = None
    rocm: bool = False
    conda: bool = False
    capability: int | None = None
    nvrtc: int | None = None
    built: bool = False
    frozen: bool = False
    source_tree: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    driver: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def found(self) -> str:
        """What ``import cupy`` loads.

        ``cupy``: a built CuPy; ``source``: CuPy's source tree; ``stranger``: another module of that
        name; ``folder``: a namespace package; ``remains``: the folder of an uninstalled CuPy;
        ``nothing``: there is none.
        """
        return str(self._cupy.get("found", {}).get("kind", "cupy"))

    @property
    def path(self) -> str | None:
        """The path from which ``import cupy`` loads it."""
        return self._cupy.get("found", {}).get("path")  # type: ignore[no-any-return]

    @property
    def cache(self) -> Mapping[str, Any]:
        """CuPy's folder for compiled kernels, and whether it is writable."""
        return self._cupy.get("cache", {})  # type: ignore[no-any-return]

    @property
    def numpy(self) -> str | None:
        """The version of the installed NumPy."""
        return self.facts.get("packages", {}).get("numpy")  # type: ignore[no-any-return]

    @property
    def other_abi(self) -> bool:
        """Whether all extension modules of CuPy are for other Pythons."""
        own = self._cupy.get("extension_suffixes", [])
        loadable = self.facts.get("python", {}).get("extension_suffixes", [])
        return bool(own) and not set(own) & set(loadable)

    @property
    def unmet(self) -> str:
        """CuPy's requirement that the installed NumPy does not meet; empty if there is none."""
        for each in self._cupy.get("distributions", []):
            for requirement in each["requires"]:
                if self.numpy and not _meets_requirement(self.numpy, requirement):
                    return str(requirement).partition(";")[0].strip()
        return ""

    @property
    def _cupy(self) -> Mapping[str, Any]:
        return self.facts.get("cupy", {})  # type: ignore[no-any-return]


def of_facts(facts: Mapping[str, Any]) -> Machine:
    """Return the machine that facts describe, see `cupy_compat.doctor.facts`."""
    cupy, python = facts["cupy"], facts["python"]
    names = tuple(each["name"] for each in cupy["distributions"])
    driver = int(facts["driver"].get("cuda") or 0)
    stated = str((cupy["wheel"] or {}).get("cuda", ""))
    majors = [stated[:2], *(_group(r"cupy-cuda(1\d)", name) for name in names)]
    return Machine(
        here=True,
        python=python["version"],
        pip=facts.get("pip", "python -m pip"),
        system={"win32": "Windows", "darwin": "macOS"}.get(python["system"], "Linux"),
        distributions=names,
        versions=tuple(sorted({each["version"] for each in cupy["distributions"]} - {None})),
        cuda=next(
            (int(each) for each in majors if each and each.isdigit()), driver // 1000 or None
        ),
        rocm=any(name.startswith("cupy-rocm") for name in names),
        conda=bool(cupy.get("conda")),
        source_tree=cupy["found"]["kind"] == "source",
        environment=facts["environment"],
        driver=driver,
        facts=facts,
    )


_WHEEL = re.compile(r"\bcupy[-_](?:cuda\d{2,3}x?|rocm[-_]\d[-_]\d)(?!\w)")
_SOURCE = re.compile(
    r"\bcupy-\d+\.\d+[\w.]*\.(?:tar\.gz|zip)|cupy_builder|cupy_setup_build|"
    r"\bCuPy Configuration Summary|pip-[\w-]{1,60}[/\\]cupy[/\\_]|FAILED: cupy/|"
    r"Configuring Module: cuda|Skip installing cuda support|"
    r"\bcupy(?:_backends|x)?[/\\][\w/\\]{1,80}\.(?:cpp|cu|pyx):\d+:\d+: (?:fatal )?error|"
    r"(?:building wheel for|failed to build|build wheels for|setup\.py install for|collecting)"
    r" '?cupy(?![-_\w])|Installing cupy \(|build `cupy==",
    re.I,
)
_CUPY = (
    re.compile(r"CuPy Version\s{0,40}: ([\d.]+\w*)", re.I),
    re.compile(
        r"\bcupy(?:[-_]cuda\w{2,4}|[-_]rocm[-_]\d[-_]\d)?(?:==|[- ]v?)(\d+\.\d+[\d.]*\w*)", re.I
    ),
)
_PYTHON = (
    re.compile(r"Python Version\s{0,40}: (\d\.\d+)", re.I),
    re.compile(r"\bPython(?: version:?)? (\d\.\d+)", re.I),
    re.compile(r"[/\\]python(\d\.\d+)[/\\]"),
    re.compile(
        r"\bcpython-(\d)(\d+)m?-|\.cp(\d)(\d+)-win|\bcp(\d)(\d+)-cp\d|[/\\]Python(\d)(\d+)[/\\]"
    ),
)
# The file names of these libraries contain CUDA's major version. Those of cuFFT and others do not.
_CUDA = (
    re.compile(r"CUDA Build Version\s{0,40}: (1\d)\d{3}"),
    re.compile(r"\blib(?:cudart|cublas|cublasLt|nvrtc)\.so\.(\d{1,2})"),
    re.compile(r"\b(?:cublas|cublasLt|cudart|nvrtc|nvrtc-builtins)64_(\d{1,2})"),
    re.compile(r"\bnvrtc-builtins\.so\.(\d{1,2})"),
    re.compile(r"[/\\]cuda-(\d{1,2})\.\d|[/\\]CUDA[/\\]+v(\d{1,2})\.\d|\bcu(1\d)\d?\b"),
)
_NVRTC = (re.compile(r"NVRTC Version\s{0,40}: \((\d+), \d+\)"),)
_CAPABILITY = (
    re.compile(r"Compute Capability\s{0,40}: (\d{2,3})\b"),
    re.compile(r"-arch[= ](?:compute|sm)_(\d{2,3})"),
)
#: The compute capability of GPUs, by a part of their names.
_GPUS = (
    (re.compile(r"\bGTX 10\d0\b|\bTitan Xp?\b|\bP40\b", re.I), 61),
    (re.compile(r"\bV100\b"), 70),
    (re.compile(r"\bRTX 20\d0\b|\bTesla T4\b", re.I), 75),
    (re.compile(r"\bA100\b"), 80),
    (re.compile(r"\bRTX 30\d0\b", re.I), 86),
    (re.compile(r"\bRTX 40\d0\b", re.I), 89),
    (re.compile(r"\bH[12]00\b"), 90),
    (re.compile(r"\bB200\b"), 100),
    (re.compile(r"\bRTX 50\d0\b", re.I), 120),
)
_ROCM = re.compile(
    r"\brocm\b|hiprtc|\blibamdhip64|\bhipcc\b|\bhipError|\bgfx\d{3,4}\b|AMD ROCm\b", re.I
)
_WINDOWS = re.compile(r"\b[A-Z]:\\|\.dll\b|DLL load failed|WinError|win_amd64|\.pyd\b|Windows-\d")
_MACOS = re.compile(r"macosx[-_]|/Users/\w+/|\bdarwin\b", re.I)
_LINUX = re.compile(r"\.so\b|/usr/|/home/|linux", re.I)
_FROZEN = re.compile(
    r"pyinstaller|nuitka|cx_freeze|pyimod\d\d|[/\\]_MEI\w+|[/\\]_internal[/\\]", re.I
)
_CONDA = re.compile(
    r"conda install [\w -]{0,80}\bcupy|\bcupy\s{1,40}\S{1,40}\s{1,40}\S{1,40}\s{1,40}conda-forge"
)
_TREE = re.compile(r'(?:File "|File |\()([^"\n]{1,300}?)[/\\]cupy[/\\](?:_?core[/\\])?__init__\.py')


def of_text(text: str) -> Machine:
    """Return the machine that a text describes."""
    # Remove CuPy's banner, which names all platforms.
    text = re.sub(
        r"cupy-cudaXXX or cupy-rocm-X-X|CUDA or ROCm|CUDA/ROCm|CUDA or AMD ROCm", "", text
    )
    wheels = tuple(sorted({each.replace("_", "-") for each in _WHEEL.findall(text)}))
    names = wheels or (("cupy",) if _SOURCE.search(text) else ())
    rocm = bool(_ROCM.search(text)) and not any("cuda" in name for name in wheels)
    major = next(filter(None, (_group(r"cupy-cuda(\d{2})", name) for name in wheels)), None)
    major = major or _first_match(_CUDA, text)
    folders = [each for each in _TREE.findall(text) if each]
    systems = ((_WINDOWS, "Windows"), (_MACOS, "macOS"), (_LINUX, "Linux"))
    version = _first_match(_CUPY, text)
    capability, nvrtc = _first_match(_CAPABILITY, text), _first_match(_NVRTC, text)
    return Machine(
        python=_first_match(_PYTHON, text),
        system=next((name for pattern, name in systems if pattern.search(text)), None),
        distributions=names,
        versions=(version,) if version else (),
        cuda=int(major[:2]) if major and not rocm and 8 <= int(major[:2]) <= 20 else None,
        rocm=rocm,
        conda=bool(_CONDA.search(text)),
        capability=int(capability) if capability else _capability_by_name(text),
        nvrtc=int(nvrtc) if nvrtc else None,
        built=bool(_SOURCE.search(text)),
        frozen=bool(_FROZEN.search(text)),
        source_tree=bool(folders)
        and not any(re.search(r"(site|dist)-packages", each) for each in folders)
        and not _FROZEN.search(text),
    )


def _capability_by_name(text: str) -> int | None:
    """Return the compute capability of the GPU that a text names, None if it names several."""
    found = [capability for name, capability in _GPUS if name.search(text)]
    return found[0] if len(found) == 1 else None


def _first_match(patterns: tuple[re.Pattern[str], ...], text: str) -> str | None:
    for pattern in patterns:
        found = pattern.search(text)
        if found:
            return ".".join(each for each in found.groups() if each is not None)
    return None


def _group(pattern: str, text: str) -> str | None:
    found = re.match(pattern, text)
    return found.group(1) if found else None


_COMPARISONS = {"<": lt, "<=": le, ">": gt, ">=": ge, "==": eq, "!=": ne}


def _meets_requirement(version: str, requirement: str) -> bool:
    """Return whether a NumPy meets a requirement. A requirement on another package is met."""
    named = re.match(r"numpy(?![\w.-])\s*\(?([^;)]*)", requirement, re.IGNORECASE)
    bounds = re.findall(r"(<=|>=|==|!=|<|>)\s*([\d.]+)", named.group(1)) if named else []
    return all(
        _COMPARISONS[operator](release(version), release(bound)) for operator, bound in bounds
    )

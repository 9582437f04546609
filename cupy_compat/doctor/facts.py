"""Read facts about an interpreter's CuPy without importing it.

`cupy_compat.doctor.trial` runs the text of this module with ``python -I -c`` in a new interpreter,
of any Python from 3.9 on, because reading damaged metadata or calling the driver may crash. The
module therefore imports nothing from this package. It searches the same folders as a user's
program, but runs no code in them.
"""

import ast
import ctypes
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import site
import sys
import sysconfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: The distributions that provide a package ``cupy``.
CUPY = re.compile(r"cupy(-cuda\d+x?|-rocm-\d+-\d+)?")
#: Other distributions whose versions are relevant to CuPy.
NEIGHBOURS = re.compile(
    r"numpy|scipy|fastrlock|cython|cupy-compat.*|cuda-.*|cutensor-.*|nvidia-.*|torch"
)
#: The environment variables that affect CuPy and CUDA. Users paste them into public reports, so the
#: pattern must not match secrets such as NVIDIA_API_KEY.
VARIABLES = re.compile(
    r"CUPY_[A-Z_]+|CUDA_(HOME|PATH\w*|VISIBLE_DEVICES|DEVICE_ORDER|LAUNCH_BLOCKING)|NVCC|ROCM_HOME|"
    r"(HIP|ROCR|NVIDIA)_VISIBLE_DEVICES|NVIDIA_DRIVER_CAPABILITIES|LD_LIBRARY_PATH|LD_PRELOAD|"
    r"PYTHON[A-Z]+"
)
#: The folder that distinguishes CuPy from another package named cupy.
MARK = "_core"


def gather(mode: str, environment: bool, user: bool, pip: str) -> "dict[str, Any]":
    """Return all facts as JSON data. A fact that cannot be read has a neutral value.

    Parameters
    ----------
    mode : {'open', 'safe', 'isolated'}
        How the user's programs run: with the working folder on the path (open), without it (safe),
        or with Python's option -I (isolated).
    environment : bool
        Whether they use PYTHONPATH.
    user : bool
        Whether they use the user's site-packages.
    pip : str
        The command for their pip.
    """
    path = _path(mode, environment, user)
    installed = _try(lambda: _distributions(path), [])
    found = _try(lambda: _import_target(path), {"kind": "nothing", "path": None})
    package = found["path"] if found["kind"] in ("cupy", "source") else None
    return {
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
            "platform": platform.platform(),
            "system": sys.platform,
            "extension_suffixes": importlib.machinery.EXTENSION_SUFFIXES,
        },
        "folder": _try(os.getcwd, None),
        "cupy": {
            "found": found,
            "distributions": [each for each in installed if CUPY.fullmatch(each["name"])],
            "wheel": _try(lambda: _wheel(package), None),
            "extension_suffixes": _try(lambda: _suffixes(package), []),
            "cache": _try(_cache, {"path": None, "writable": None}),
            "conda": _try(lambda: _is_from_conda("cupy-"), False),
            "writable": bool(package) and os.access(package or "", os.W_OK),
        },
        "packages": {
            each["name"]: each["version"]
            for each in installed
            if NEIGHBOURS.fullmatch(each["name"])
        },
        "driver": _try(_driver, {"library": None, "cuda": None}),
        "environment": {
            name: value for name, value in sorted(os.environ.items()) if VARIABLES.fullmatch(name)
        },
        "managed": _try(_managed, None),
        "pip": pip,
    }


def _try(read: "Callable[[], Any]", otherwise: "Any") -> "Any":
    # An error is a fault of the environment. The other facts are still useful.
    try:
        return read()
    except Exception:
        return otherwise


def _path(mode: str, environment: bool, user: bool) -> "list[str]":
    """Return the search path of a user's program. This interpreter, being isolated, has another."""
    if mode == "isolated":
        return list(sys.path)
    path = list(sys.path)
    folder = _try(site.getusersitepackages, "")
    # As in `site`: a virtual environment has the user's packages only with the system's.
    inherits = sys.prefix == sys.base_prefix or any(
        each in sys.path for each in site.getsitepackages([sys.base_prefix])
    )
    if user and inherits and folder and os.path.isdir(folder) and folder not in path:
        places = [at for at, each in enumerate(path) if each.endswith("-packages")]
        path.insert(places[0] if places else len(path), folder)
    if environment:
        given = os.environ.get("PYTHONPATH")
        path[:0] = given.split(os.pathsep) if given else []
    safe = mode == "safe" or (environment and os.environ.get("PYTHONSAFEPATH"))
    return path if safe and sys.version_info >= (3, 11) else ["", *path]


def _distributions(path: "list[str]") -> "list[dict[str, Any]]":
    found = {}
    for each in importlib.metadata.distributions(path=path):
        # Without METADATA, take the name from the folder.
        folder = getattr(each, "_path", None)
        named = _try(lambda each=each: each.metadata["Name"], None)  # type: ignore[misc]
        name = named or str(getattr(folder, "name", "")).partition("-")[0]
        name = re.sub(r"[-_.]+", "-", name).lower()
        if not (CUPY.fullmatch(name) or NEIGHBOURS.fullmatch(name)) or name in found:
            continue
        found[name] = {
            "name": name,
            "version": _try(lambda each=each: each.version, None),  # type: ignore[misc]
            "location": _try(lambda each=each: str(each.locate_file("")), None),  # type: ignore[misc]
            "requires": _try(lambda each=each: _required(each.requires or []), []),  # type: ignore[misc]
        }
    return sorted(found.values(), key=lambda each: each["name"])


def _required(requirements: "list[str]") -> "list[str]":
    """Return the requirements that apply to this environment, without their markers."""
    split = [each.partition(";") for each in requirements]
    return [name.strip() for name, _, marker in split if _applies(marker.strip())]


def _applies(marker: str) -> bool:
    """Return whether an environment marker is true here, or cannot be read."""
    if not marker:
        return True
    values = {
        "python_version": "{}.{}".format(*sys.version_info),
        "python_full_version": platform.python_version(),
        "os_name": os.name,
        "sys_platform": sys.platform,
        "platform_system": platform.system(),
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "implementation_name": sys.implementation.name,
        "extra": "",
    }
    # Markers are Python comparisons, except for two rare operators.
    return bool(_try(lambda: _evaluate(ast.parse(marker, mode="eval").body, values), True))


def _evaluate(node: "ast.AST", values: "dict[str, str]") -> "Any":
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.BoolOp):
        each = (_evaluate(value, values) for value in node.values)
        return all(each) if isinstance(node.op, ast.And) else any(each)
    if not isinstance(node, ast.Compare):
        raise ValueError("not a marker")
    left, right = _evaluate(node.left, values), _evaluate(node.comparators[0], values)
    operator = type(node.ops[0]).__name__
    if operator in ("In", "NotIn"):
        return (left in right) == (operator == "In")
    numbers = [[int(part) for part in re.findall(r"\d+", text)] for text in (left, right)]
    if all(re.fullmatch(r"\d+(\.\d+)*\w*", text) for text in (left, right)):
        left, right = numbers
    return {
        "Eq": left == right, "NotEq": left != right, "Lt": left < right, "LtE": left <= right,
        "Gt": left > right, "GtE": left >= right,
    }[operator]  # fmt: skip


def _import_target(path: "list[str]") -> "dict[str, Any]":
    """Return what ``import cupy`` would load: CuPy, or something else with that name."""
    own, sys.path[:] = list(sys.path), path
    try:
        spec = importlib.util.find_spec("cupy")
    finally:
        sys.path[:] = own
    if spec is None:
        return {"kind": "nothing", "path": None}
    folders = list(spec.submodule_search_locations or [])
    if spec.origin is None or spec.origin == "namespace":
        places = {os.path.realpath(each) for each in path if each.endswith("-packages")}
        left = [each for each in folders if os.path.realpath(os.path.dirname(each)) in places]
        return {"kind": "remains" if left else "folder", "path": (left or folders)[0]}
    if folders and os.path.isdir(os.path.join(folders[0], MARK)):
        # A source tree has the same folder, without compiled modules.
        source = os.path.isfile(os.path.join(folders[0], MARK, "core.pyx"))
        compiled = source and _try(lambda: _suffixes(folders[0]), [])
        kind = "source" if source and not compiled else "cupy"
        return {"kind": kind, "path": folders[0]}
    return {"kind": "stranger", "path": os.path.abspath(spec.origin)}


def _wheel(package: "str | None") -> "Any":
    if package is None:
        return None
    with open(os.path.join(package, ".data", "_wheel.json"), encoding="utf-8") as file:
        return json.load(file)


def _suffixes(package: "str | None") -> "list[str]":
    """Return the suffixes of CuPy's extension modules, according to one folder."""
    names = os.listdir(os.path.join(package, MARK)) if package else []
    # The module's name ends at the first dot.
    found = {"." + name.partition(".")[2] for name in names if name.endswith((".so", ".pyd"))}
    return sorted(found)


def _cache() -> "dict[str, Any]":
    """Return CuPy's folder for compiled kernels, and whether it is writable or can be created."""
    path = os.environ.get("CUPY_CACHE_DIR") or os.path.expanduser("~/.cupy/kernel_cache")
    existing = os.path.abspath(path)
    while not os.path.lexists(existing) and os.path.dirname(existing) != existing:
        existing = os.path.dirname(existing)
    can = os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK)
    return {"path": path, "writable": can}


def _is_from_conda(start: str) -> bool:
    """Return whether conda installed a package whose record starts with that text."""
    names = os.listdir(os.path.join(sys.prefix, "conda-meta"))
    return any(re.match(re.escape(start) + r"(core-)?\d", name) for name in names)


def _managed() -> "str | None":
    """Return why pip must not or cannot change this environment, None if it can."""
    if os.path.isdir(os.path.join(sys.prefix, "conda-meta")):
        return "conda"
    base = sys.prefix == sys.base_prefix
    if base and os.path.exists(os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")):
        return "externally managed"
    if not os.access(sysconfig.get_path("purelib"), os.W_OK):
        return "not writable"
    return None if importlib.util.find_spec("pip") else "without pip"


def _driver() -> "dict[str, Any]":
    """Return the driver's library, and the newest CUDA that it supports, as 12080 for 12.8."""
    name = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
    try:
        library = ctypes.CDLL(name)
    except OSError:
        return {"library": None, "cuda": None}
    version = ctypes.c_int(0)
    failed = library.cuDriverGetVersion(ctypes.byref(version))
    return {"library": name, "cuda": None if failed else version.value}


if __name__ == "__main__":
    token, mode, environment, user, pip = sys.argv[1:]
    facts = gather(mode, environment == "environment", user == "user", pip)
    # Bypass sys.stdout, which a start-up file may have changed.
    os.write(1, f"\n{token}{facts!r}\n".encode("utf-8", "backslashreplace"))

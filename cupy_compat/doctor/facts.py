"""What can be read about an interpreter's CuPy without importing it.

The text of this module is run by ``python -c`` in an interpreter of its own, with the path that a
user's program has: reading metadata of a damaged environment, and calling the driver, can fail in
ways that a process does not survive. So it imports nothing of this package.
"""

import sys

# A file in the working folder may stand in front of a module that is needed here.
_HERE = sys.path[:1] if __name__ == "__main__" and sys.path[:1] == [""] else []
sys.path[:] = sys.path[len(_HERE) :]

import ctypes  # noqa: E402
import importlib.machinery  # noqa: E402
import importlib.metadata  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import platform  # noqa: E402
import re  # noqa: E402
import site  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: The distributions that bring a package ``cupy``.
CUPY = re.compile(r"cupy(-cuda\d+x?|-rocm-\d+-\d+)?")
#: The distributions whose versions matter to a CuPy.
NEIGHBOURS = re.compile(
    r"numpy|scipy|fastrlock|cython|cupy-compat.*|cuda-.*|cutensor-.*|nvidia-.*|torch"
)
#: The environment variables that CuPy, CUDA and the search for both listen to. They are pasted
#: into reports, so none that may hold a key, as NVIDIA_API_KEY.
VARIABLES = re.compile(
    r"CUPY_[A-Z_]+|CUDA_(HOME|PATH\w*|VISIBLE_DEVICES|DEVICE_ORDER|LAUNCH_BLOCKING)|NVCC|ROCM_HOME|"
    r"(HIP|ROCR|NVIDIA)_VISIBLE_DEVICES|NVIDIA_DRIVER_CAPABILITIES|LD_LIBRARY_PATH|LD_PRELOAD|"
    r"PYTHON[A-Z]+"
)
#: What a package that is CuPy has and another that is called so has not.
MARK = "_core"


def gather() -> "dict[str, Any]":
    """Return all facts, as JSON can hold them; a fact that cannot be read is a text saying why."""
    installed = _try(_distributions, [])
    found = _try(_found, {"kind": "nothing", "path": None})
    package = found["path"] if found["kind"] == "cupy" else None
    return {
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
            "platform": platform.platform(),
            "extension_suffixes": importlib.machinery.EXTENSION_SUFFIXES,
        },
        "folder": _try(os.getcwd, None),
        "cupy": {
            "found": found,
            "distributions": [each for each in installed if CUPY.fullmatch(each["name"])],
            "wheel": _try(lambda: _wheel(package), None),
            "extension_suffixes": _try(lambda: _suffixes(package), []),
            "cache": _try(_cache, {"path": None, "writable": None}),
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
    }


def _try(read: "Callable[[], Any]", otherwise: "Any") -> "Any":
    # Whatever is broken here is broken in the environment, and the other facts still count.
    try:
        return read()
    except Exception:
        return otherwise


def _distributions() -> "list[dict[str, Any]]":
    found = {}
    for each in importlib.metadata.distributions():
        # Without METADATA there is no name but that of the folder.
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
            "requires": _try(lambda each=each: _required(each), []),  # type: ignore[misc]
        }
    return sorted(found.values(), key=lambda each: each["name"])


def _required(each: importlib.metadata.Distribution) -> "list[str]":
    return [line for line in each.requires or [] if "extra ==" not in line]


def _found() -> "dict[str, Any]":
    """Return what ``import cupy`` would load: CuPy, or something else of that name."""
    spec = importlib.util.find_spec("cupy")
    if spec is None:
        return {"kind": "nothing", "path": None}
    folders = list(spec.submodule_search_locations or [])
    if spec.origin is None or spec.origin == "namespace":
        places = {os.path.realpath(each) for each in (*site.getsitepackages(), _user_site())}
        left = [each for each in folders if os.path.realpath(os.path.dirname(each)) in places]
        return {"kind": "remains" if left else "folder", "path": (left or folders)[0]}
    if folders and os.path.isdir(os.path.join(folders[0], MARK)):
        return {"kind": "cupy", "path": folders[0]}
    return {"kind": "stranger", "path": os.path.abspath(spec.origin)}


def _user_site() -> str:
    return str(_try(site.getusersitepackages, ""))


def _wheel(package: "str | None") -> "Any":
    if package is None:
        return None
    with open(os.path.join(package, ".data", "_wheel.json"), encoding="utf-8") as file:
        return json.load(file)


def _suffixes(package: "str | None") -> "list[str]":
    """Return the suffixes of the extension modules of one folder, which stand for all."""
    names = os.listdir(os.path.join(package, MARK)) if package else []
    # What precedes the first dot is the module's name.
    found = {"." + name.partition(".")[2] for name in names if name.endswith((".so", ".pyd"))}
    return sorted(found)


def _cache() -> "dict[str, Any]":
    """Return CuPy's folder for compiled kernels, and whether it is one or can become one."""
    path = os.environ.get("CUPY_CACHE_DIR") or os.path.expanduser("~/.cupy/kernel_cache")
    existing = os.path.abspath(path)
    while not os.path.lexists(existing) and os.path.dirname(existing) != existing:
        existing = os.path.dirname(existing)
    can = os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK)
    return {"path": path, "writable": can}


def _driver() -> "dict[str, Any]":
    """Return the driver's library and the newest CUDA that it serves: 12080 for 12.8."""
    name = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
    try:
        library = ctypes.CDLL(name)
    except OSError:
        return {"library": None, "cuda": None}
    version = ctypes.c_int(0)
    failed = library.cuDriverGetVersion(ctypes.byref(version))
    return {"library": name, "cuda": None if failed else version.value}


if __name__ == "__main__":
    token = sys.argv[1]
    # From here on the path is the user's again: this is what finds a CuPy, or what hides it.
    sys.path[:0] = _HERE
    # Not by print: a start-up file may have done what it likes to sys.stdout.
    os.write(1, f"\n{token}{gather()!r}\n".encode("utf-8", "backslashreplace"))

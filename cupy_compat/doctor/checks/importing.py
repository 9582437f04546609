"""Checks: ``import cupy`` finds no CuPy, something else, or parts that do not match."""

from __future__ import annotations

from collections.abc import Mapping

from ..machine import Machine
from ._check import Check

#: Names that every CuPy has.
_IN_EVERY_CUPY = frozenset(
    ("__version__", "ndarray", "array", "asarray", "zeros", "ones", "empty", "arange", "asnumpy",
     "cuda", "memoize", "float32", "float64", "int32", "random", "linalg", "ElementwiseKernel",
     "show_config", "RawKernel", "get_array_module", "sum", "runtime", "Device", "Stream",
     "compiler")
)  # fmt: skip
#: Names that CuPy has removed, with their replacements.
_REPLACEMENTS = {
    "util": "use `cupy.memoize` instead of `cupy.util.memoize`; `cupy.util` is private",
    "core": "use `cupy.ndarray` and other public names; `cupy.core` is now private",
    "sparse": "use `cupyx.scipy.sparse`",
    "scatter_add": "use `cupyx.scatter_add`",
    "prof": "use `cupyx.profiler`",
    "time": "use `cupyx.profiler.benchmark`",
    "_cupyx": "import `cupyx` itself",
    "compile_with_cache": "use `cupy.RawModule` or `cupy.RawKernel`",
    "cudnn": "install a CuPy before 14, which still has cuDNN",
    "bool": "use `bool` or `cupy.bool_`; CuPy 14 has `cupy.bool` again",
    "int": "use `int` or `cupy.int64`",
    "float": "use `float` or `cupy.float64`",
    "complex": "use `complex` or `cupy.complex128`",
    "object": "use `object`",
    "float_": "use `cupy.float64`",
    "complex_": "use `cupy.complex128`",
    "product": "use `cupy.prod`",
    "cumproduct": "use `cupy.cumprod`",
    "alltrue": "use `cupy.all`",
    "sometrue": "use `cupy.any`",
    "asfarray": "use `cupy.asarray` with a floating dtype",
    "msort": "use `cupy.sort` with `axis=0`",
    "round_": "use `cupy.round`",
    "Inf": "use `cupy.inf`",
    "PINF": "use `cupy.inf`",
    "NINF": "use `-cupy.inf`",
    "infty": "use `cupy.inf`",
    "NaN": "use `cupy.nan`",
    "find_common_type": "use `cupy.promote_types` or `cupy.result_type`",
}
#: Packages that `cupyx.scipy` does not import.
_SCIPY = (
    "fft",
    "interpolate",
    "linalg",
    "ndimage",
    "signal",
    "sparse",
    "spatial",
    "special",
    "stats",
)
_SITE = ("site-packages", "dist-packages")
_ATTRIBUTE = (
    "module 'cupy' has no attribute '{attribute}'",
    "module 'cupy.cuda' has no attribute '{attribute}'",
    "module 'cupyx' has no attribute '{attribute}'",
    "module 'cupy' from {*} has no attribute '{attribute}'",
    "cannot import name '{attribute}' from 'cupy'",
    "cannot import name '{attribute}' from 'cupy.cuda'",
    "cannot import name '{attribute}' from 'cupyx'",
)
#: Texts that show that CuPy's own code was running.
_FRAMES = ("cupy/", "cupy\\", "init cupy", "import cupy", "cupy._core")
_SHADOW = ("partially initialized", "consider renaming")


def _replacement(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    instead = _REPLACEMENTS.get(words["attribute"])
    return {"instead": f"{instead[0].upper()}{instead[1:]}"} if instead else None


def _replacement_of_module(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    # If a submodule is missing, the module itself exists.
    return None if "." in words["attribute"] else _replacement(machine, words)


def _if_in_every_cupy(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    return words if words["attribute"] in _IN_EVERY_CUPY else None


def _missing_import(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    name = words.get("attribute", "cupyx")
    if name in ("nccl", "cudnn", "cutensor"):
        return {"module": f"cupy.cuda.{name}", "import": f"from cupy.cuda import {name}"}
    if name in ("cupyx", "scipy"):
        module = "cupyx.scipy" if name == "scipy" else name
    elif "package" in words and name in _SCIPY:
        module = f"cupyx.scipy.{name}"
    else:
        return None
    return {"module": module, "import": f"import {module}"}


def _library_left_out(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    names = {"cudnn": "cuDNN", "nccl": "NCCL", "cutensor": "cuTENSOR"}
    library = names.get(words.get("attribute", "cutensor"))
    return {"library": library} if library else None


def _if_never_in_cupy(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    return None if words["attribute"] in {*_IN_EVERY_CUPY, *_REPLACEMENTS, "_core"} else words


def _other_module(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    parts = words["attribute"].split(".")
    whole = words["attribute"] in ("cuda", "random", "linalg") or parts[0].startswith("_")
    return None if whole or {parts[0], parts[-1]} & set(_REPLACEMENTS) else words


def _dependency(machine: Machine, words: Mapping[str, str]) -> Mapping[str, str] | None:
    packages = {"numpy": "numpy", "fastrlock": "fastrlock", "cuda": "cuda-pathfinder"}
    top, _, below = words["module"].partition(".")
    # Other submodules of these packages belong to another package or version.
    if top not in packages or below not in ("", "rlock", "pathfinder"):
        return None
    return {"package": packages[top]}


IMPORTING = (
    Check(
        "memoize",
        "CuPy's memoize cannot copy a function's name",
        "CuPy 13.4, 14.0.0a1, and git snapshots from before 2025-05-18 fail like this if Cython "
        "3.1 or later compiled them. This affects builds from source, not the published wheels.",
        (
            "Upgrade to CuPy 13.5 or later: {upgrade}.",
            "{rebuild}",
            "{repair}",
            "Or build this CuPy again with `Cython<3.1`.",
        ),
        says=("attribute '__name__' of 'builtin_function_or_method' objects",),
        example="AttributeError: attribute '__name__' of 'builtin_function_or_method' objects is "
        "not writable",
        source="cupy/cupy#9128",
        raised_by=("cupy", ""),
    ),
    Check(
        "memoize-annotated",
        "CuPy's memoize cannot copy a function's annotations",
        "Cython 3.2.6 compiled this CuPy. On Python 3.14, its functions do not accept annotations.",
        ("Upgrade CuPy: {upgrade}.", "{repair}"),
        says=("__annotate__() missing 1 required positional argument",),
        example="TypeError: f.__annotate__() missing 1 required positional argument: 'format'",
        source="cython/cython#7767",
        raised_by=("cupy", ""),
    ),
    Check(
        "two-distributions",
        "several distributions of CuPy are installed",
        "More than one distribution provides the package `cupy`. They overwrite each other's "
        "files, and such a mixture can fail in many ways.",
        ("Remove all of them and install one: {reinstall}.",),
        says=("CuPy may not function correctly because multiple CuPy packages are installed",),
        example="  CuPy may not function correctly because multiple CuPy packages are installed",
        source="cupy/cupy#4872",
        detects=lambda case: len(case.machine.distributions) > 1,
        remark=True,
    ),
    Check(
        "source-tree",
        "Python imports CuPy from its source folder",
        "The working folder, or a folder on PYTHONPATH, contains CuPy's source code. Python finds "
        "it before the installed CuPy, but its modules are not compiled.",
        ("Start the program in another folder, or remove the folder from PYTHONPATH.",),
        says=(
            "cannot import name 'core' from partially initialized module 'cupy.",
            "cannot import name 'core'{$}",
            "cannot import name '_core' from partially initialized module 'cupy'",
            "No module named 'cupy._core.core'",
            "No module named 'cupy.core.core'",
            "No module named 'cupy_backends.cuda.api.",
        ),
        example="ImportError: cannot import name 'core' from partially initialized module "
        "'cupy._core' (most likely due to a circular import) (/w/cupy/cupy/_core/__init__.py)",
        source="cupy/cupy#682",
        condition=lambda machine: machine.source_tree,
        detects=lambda case: case.machine.found == "source",
        breaks=True,
    ),
    Check(
        "other-python",
        "CuPy's extension modules are for another Python",
        "{python} cannot load CuPy's extension modules. They were installed for another version, "
        "or copied.",
        (
            "Install CuPy with the Python that runs it: {reinstall}.",
            "Remove folders of other Pythons from PYTHONPATH.",
        ),
        says=(
            "cannot import name 'core' from partially initialized module 'cupy._core'",
            "cannot import name 'core' from 'cupy.",
            "No module named 'cupy.core.core'",
            "No module named 'cupy._core.core'",
            "cannot import name 'core' from partially initialized module 'cupy.core'",
            "cupy{*}undefined symbol: _Py",
            "cupy{*}undefined symbol: Py",
        ),
        example="ImportError: cannot import name 'core' from partially initialized module "
        "'cupy._core' (most likely due to a circular import) "
        "(/venv/lib/python3.13/site-packages/cupy/_core/__init__.py)",
        source="made with pip",
        condition=lambda machine: not machine.source_tree and not machine.frozen,
        detects=lambda case: case.machine.other_abi,
        breaks=True,
    ),
    Check(
        "shadowed",
        "another file named cupy shadows CuPy",
        "`import cupy` finds {path}, which is not CuPy.",
        ("Rename that file or folder, and delete its `__pycache__`.",),
        says=(
            "partially initialized module 'cupy' has no attribute '",
            "partially initialized module 'cupy' from {*} has no attribute '",
            "module 'cupy' has no attribute '{attribute}' (consider renaming",
            "module 'cupy' from {*} has no attribute '{attribute}' (consider renaming",
            "from partially initialized module 'cupy' (most likely due to a circular import) "
            "({*}cupy.py)",
        ),
        unless=("'_util'", *_SITE, "cupy/__init__.py", "cupy\\__init__.py"),
        example="AttributeError: partially initialized module 'cupy' has no attribute 'zeros' "
        "(most likely due to a circular import)",
        source="made with pip",
        detects=lambda case: case.machine.found == "stranger",
        breaks=True,
    ),
    Check(
        "shadowed-module",
        "a file of the program shadows a module of Python's standard library",
        "A file beside the program has the same name as a standard module, and Python imports the "
        "file instead.",
        ("Rename that file, and delete its `__pycache__`.",),
        says=("since it has the same name as the standard library module",),
        example="AttributeError: module 'random' has no attribute 'Random' (consider renaming "
        "'/w/random.py' since it has the same name as the standard library module named 'random')",
        source="read in CPython",
        shared=True,
    ),
    Check(
        "not-imported",
        "a module of CuPy must be imported explicitly",
        "`import cupy` does not import `{module}`.",
        ("Import it: `{import}`. (CuPy 14 no longer has `cudnn`.)",),
        says=(
            "module 'cupy.cuda' has no attribute '{attribute}'",
            "module 'cupyx' has no attribute '{attribute}'",
            "module '{package}.scipy' has no attribute '{attribute}'",
            "module 'cupy' has no attribute 'cupyx'",
            "cannot import name 'cupyx' from 'cupy'",
            "No module named 'cupy.cupyx",
        ),
        unless=(*_SHADOW, "'scipy'"),
        details=_missing_import,
        example="AttributeError: module 'cupy.cuda' has no attribute 'nccl'",
        source="read in CuPy",
    ),
    Check(
        "removed-name",
        "the program uses a name that CuPy has removed",
        "The code was written for an older CuPy, which still had `{attribute}`.",
        ("{instead}.", "Or upgrade the program or library in the last frames of the traceback."),
        says=_ATTRIBUTE,
        unless=_SHADOW,
        details=_replacement,
        after=("not-imported",),
        raised_by=("other", ""),
        example="AttributeError: module 'cupy' has no attribute 'util'",
        source="cupy/cupy#5044",
    ),
    Check(
        "removed-module",
        "the program imports a module that CuPy has removed",
        "The code was written for an older CuPy, which still had this module.",
        ("{instead}.", "Or upgrade the program or library in the last frames of the traceback."),
        says=(
            "No module named 'cupy.{attribute}'",
            "No module named 'cupy.cuda.{attribute}'",
            "No module named 'cupyx.{attribute}'",
        ),
        details=_replacement_of_module,
        raised_by=("other", ""),
        example="ModuleNotFoundError: No module named 'cupy.core'",
        source="cupy/cupy#5761",
        condition=lambda machine: not machine.source_tree and not machine.frozen,
    ),
    Check(
        "files-gone",
        "CuPy's files are missing",
        "The folder `cupy` does not contain CuPy's files. Usually, two distributions of CuPy were "
        "installed, and uninstalling one removed files of both. An unrelated folder named `cupy` "
        "has the same effect.",
        (
            "Remove every CuPy and install one: {reinstall}.",
            'If `python -c "import cupy; print(cupy.__path__)"` prints a folder outside '
            "site-packages, rename it.",
        ),
        says=_ATTRIBUTE,
        unless=_SHADOW,
        details=_if_in_every_cupy,
        example="AttributeError: module 'cupy' has no attribute 'ndarray'",
        after=("not-installed",),
        source="cupy/cupy#7021",
        detects=lambda case: (
            case.machine.found in ("nothing", "folder", "remains")
            and bool(case.machine.distributions)
        ),
        breaks=True,
    ),
    Check(
        "no-such-name",
        "this CuPy has no such name",
        "The installed CuPy does not have `{attribute}`. Another version may have it, or CuPy may "
        "not implement this function of NumPy.",
        (
            "Look the name up in CuPy's API reference and upgrade guide (https://docs.cupy.dev).",
            "If a library uses it, install the CuPy that the library was written for.",
        ),
        says=(*_ATTRIBUTE, "module 'cupy.{module}' has no attribute '{attribute}'"),
        unless=_SHADOW,
        details=_if_never_in_cupy,
        after=("not-imported", "pytest"),
        raised_by=("other", ""),
        example="AttributeError: module 'cupy' has no attribute 'polyfit'",
        source="UCBerkeleySETI/hyperseti#60",
    ),
    Check(
        "no-such-module",
        "this CuPy has no such module",
        "The installed CuPy does not have the module `{attribute}`. Another version may have it.",
        (
            "If a library imports it, install the CuPy that the library was written for (for "
            "example, CuPy 7 for Chainer 7), or upgrade the library.",
            "If an object is unpickled (by Dask, for example), install the same CuPy on all "
            "machines.",
        ),
        says=("No module named 'cupy.{attribute}'", "No module named 'cupyx.{attribute}'"),
        details=_other_module,
        after=("not-imported", "built-without"),
        raised_by=("other", ""),
        example="ModuleNotFoundError: No module named 'cupy.cuda.cublas'",
        source="cupy/cupy#6248",
        condition=lambda machine: not machine.source_tree and not machine.frozen,
    ),
    Check(
        "frozen",
        "a packaged program lacks modules or files of CuPy",
        "PyInstaller and similar tools do not detect the imports of CuPy's compiled modules, or "
        "the header files that CuPy needs to compile kernels.",
        (
            "Include them: `pyinstaller --collect-all cupy --collect-all cupy_backends "
            "--collect-all cupyx --collect-all fastrlock ...`.",
        ),
        says=(
            "No module named 'cupy",
            "No module named 'fastrlock",
            "cannot import name '{name}' from partially initialized module 'cupy",
            'cannot open source file "cupy/',
            "No such file or directory: '{*}cupy{*}include",
        ),
        example="ModuleNotFoundError: No module named 'cupy_backends.cuda._softlink'\n"
        '  File "PyInstaller\\loader\\pyimod02_importers.py", line 385, in exec_module',
        source="pyinstaller/pyinstaller#7873",
        condition=lambda machine: machine.frozen,
    ),
    Check(
        "old-core",
        "this CuPy has no cupy._core",
        "The program uses `cupy._core`, which CuPy 9 introduced. This CuPy is older, or its files "
        "are missing.",
        (
            "Upgrade CuPy: {upgrade}.",
            "If it is CuPy 9 or later, remove every CuPy and install one: {reinstall}.",
        ),
        says=("module 'cupy' has no attribute '_core'", "cannot import name '_core' from 'cupy'"),
        unless=_SHADOW,
        raised_by=("other", ""),
        example="AttributeError: module 'cupy' has no attribute '_core'",
        source="UCBerkeleySETI/turbo_seti#272",
    ),
    Check(
        "built-without",
        "this CuPy was built without an optional library",
        "The build of this CuPy did not find the headers of {library} and omitted its module. "
        "(CuPy 14 no longer supports cuDNN.)",
        (
            "Install a wheel: {install}.",
            "Or install {library} with its headers, and build CuPy again.",
        ),
        says=(
            "No module named 'cupyx.cutensor'",
            "No module named 'cupy.cuda.{attribute}'",
            "No module named 'cupy_backends.cuda.libs.{attribute}'",
        ),
        details=_library_left_out,
        raised_by=("cupy",),
        condition=lambda machine: not machine.frozen,
        example='  File "/opt/cupy/cupy/cutensor.py", line 3, in <module>\n'
        "ModuleNotFoundError: No module named 'cupyx.cutensor'",
        source="cupy/cupy#7991",
    ),
    Check(
        "own-import",
        "CuPy's modules do not match",
        "One of CuPy's modules does not find what it needs in another. The files belong to several "
        "versions of CuPy, or some are missing.",
        (
            "Remove every CuPy and install one: {reinstall}.",
            "If you built CuPy yourself, delete the old build files and build again.",
        ),
        says=(
            "No module named 'cupy.{attribute}'",
            "No module named 'cupyx.{attribute}'",
            "cannot import name '{attribute}' from 'cupy",
            "cannot import name core{$}",
            "type object 'cupy{*}' has no attribute '__reduce_cython__'",
        ),
        raised_by=("cupy",),
        condition=lambda machine: not machine.source_tree and not machine.frozen,
        after=("incomplete", "built-without", "other-python", "second-import"),
        example='  File "/venv/cupy/cuda/__init__.py", line 34, in <module>\n'
        "ImportError: cannot import name 'cub' from 'cupy.cuda'",
        source="cupy/cupy#4334",
    ),
    Check(
        "incomplete",
        "modules of CuPy are missing",
        "CuPy is only partly installed: an installation was interrupted, or uninstalling another "
        "distribution of CuPy removed files of this one.",
        ("Remove every CuPy and install one: {reinstall}.",),
        says=(
            "No module named 'cupy_backends",
            "No module named 'cupy._",
            "No module named 'cupy.cuda'",
            "No module named 'cupy.random'",
            "No module named 'cupy.linalg'",
            'cannot open source file "cupy/',
        ),
        after=("other-python", "built-without"),
        example="ModuleNotFoundError: No module named 'cupy._environment'",
        source="cupy/cupy#7021",
        condition=lambda machine: not machine.source_tree and not machine.frozen,
    ),
    Check(
        "not-installed",
        "no CuPy is installed for this Python",
        "The Python that ran the program has no CuPy. CuPy may be installed for another Python.",
        ("With the Python that runs the program: {install}.",),
        says=("No module named 'cupy'", "No module named cupy{$}"),
        example="ModuleNotFoundError: No module named 'cupy'",
        source="Fannovel16/ComfyUI-Frame-Interpolation#10",
        condition=lambda machine: not (machine.frozen or (machine.here and machine.distributions)),
        detects=lambda case: (
            case.machine.found in ("nothing", "folder", "remains")
            and not case.machine.distributions
        ),
        breaks=True,
    ),
    Check(
        "hidden-failure",
        "a library could not import CuPy and hides the reason",
        "spaCy, SpikingJelly and other libraries print this whenever `import cupy` fails.",
        (
            'To see the reason, run `python -c "import cupy"` or `cupy-compat doctor`.',
            "If CuPy is not installed: {install}.",
        ),
        says=("Error: {*}CuPy is not installed",),
        example="ValueError: Cannot use GPU, CuPy is not installed",
        source="explosion/spaCy#13700",
        shared=True,
        after=("*",),
    ),
    Check(
        "numpy-1-module",
        "a package compiled for NumPy 1 is used with NumPy 2",
        "A package that was compiled for NumPy 1 does not work with NumPy 2. The last frames of "
        "the traceback show which. CuPy before 13.2 is such a package.",
        (
            "Upgrade the package that the traceback shows. If it is CuPy: {upgrade}.",
            'If you cannot upgrade it: `{pip} install "numpy<2"`.',
        ),
        says=(
            "A module that was compiled using NumPy 1.x cannot be run in",
            "module compiled against ABI version",
        ),
        example="A module that was compiled using NumPy 1.x cannot be run in",
        source="read in NumPy",
        printed=True,
    ),
    Check(
        "numpy-too-old",
        "this CuPy was compiled for a newer NumPy",
        "{cupy} cannot use the C API of {numpy}. CuPy 14 needs NumPy 2.0 or later.",
        (
            'Upgrade NumPy: `{pip} install --upgrade "numpy>=2,<2.6"`.',
            "If a program needs NumPy 1, keep it and {older}.",
        ),
        says=(
            "numpy.core.multiarray failed to import",
            "numpy._core.multiarray failed to import",
            "module compiled against API version",
        ),
        needs=(*_FRAMES, "docs.cupy.dev"),
        example="ImportError: numpy.core.multiarray failed to import (auto-generated because you "
        "didn't call 'numpy.import_array()' after cimporting numpy)\n"
        '  File "cupy/_core/core.pyx", line 1, in init cupy._core.core',
        source="lllyasviel/Fooocus#4150",
        after=("numpy-1-module",),
    ),
    Check(
        "numpy-too-new",
        "this CuPy was written for an older NumPy",
        "CuPy uses a name that the installed NumPy has removed. CuPy 13.3 and later support NumPy "
        "2.",
        (
            "Upgrade CuPy: {upgrade}.",
            'If you cannot upgrade CuPy, install an older NumPy: `{pip} install "numpy<2"`, or '
            '`"numpy<1.24"` for CuPy 11 and earlier.',
        ),
        says=(
            "np.{name}` was removed in the NumPy 2.0 release",
            "module 'numpy' has no attribute '",
            "cannot import name '{name}' from 'numpy",
        ),
        needs=("cupy/", "cupy\\", "cupyx/", "cupyx\\", "import cupy"),
        example="AttributeError: `np.float_` was removed in the NumPy 2.0 release. Use "
        "`np.float64` "
        'instead.\n  File "/venv/lib/python3.12/site-packages/cupy/__init__.py", line 286',
        after=("numpy-incomplete",),
        source="made with pip",
    ),
    Check(
        "numpy-incomplete",
        "NumPy's files are missing",
        "NumPy was only partly removed: its folder still exists, without NumPy's files.",
        ("Reinstall it: `{pip} install --force-reinstall numpy`.",),
        says=(
            "module 'numpy' has no attribute '__version__'",
            "module 'numpy' has no attribute 'ndarray'",
            "module 'numpy' has no attribute 'dtype'",
        ),
        unless=_SHADOW,
        example="AttributeError: module 'numpy' has no attribute '__version__'",
        source="made with pip",
    ),
    Check(
        "numpy-abi",
        "an extension module was compiled for another NumPy",
        "An extension module was compiled for a NumPy whose types have other sizes. The last "
        "frames of the traceback show its package, which is often not CuPy.",
        (
            "Upgrade or reinstall that package: `{pip} install --upgrade --force-reinstall "
            "PACKAGE`.",
            "If it has no release for {numpy}, install the NumPy that it was compiled for.",
        ),
        says=("numpy.dtype size changed", "numpy.ndarray size changed", "numpy.ufunc size changed"),
        example="ValueError: numpy.dtype size changed, may indicate binary incompatibility. "
        "Expected 96 from C header, got 88 from PyObject",
        source="explosion/spaCy#13875",
        shared=True,
    ),
    Check(
        "numpy-bounds",
        "this CuPy requires another version of NumPy",
        "The installed NumPy does not meet the requirements of this CuPy.",
        ('Install a NumPy that does: `{pip} install "{unmet}"`.',),
        says=("requires numpy{*}but you have numpy",),
        needs=("cupy-cuda", "cupy 1"),
        example="cupy-cuda12x 14.2.0 requires numpy<2.6,>=2.0, but you have numpy 1.26.4 which is "
        "incompatible.",
        detects=lambda case: bool(case.machine.unmet),
        source="made with pip",
        after=("numpy-too-old", "numpy-too-new", "numpy-1-module"),
    ),
    Check(
        "dependency",
        "a package that CuPy needs is not installed",
        "The module {module} is missing. CuPy was installed without its dependencies "
        "(`--no-deps`), or they were removed.",
        ("Install it: `{pip} install {package}`.",),
        says=("No module named '{module}'", "cannot import name 'pathfinder' from '{module}'"),
        needs=_FRAMES,
        details=_dependency,
        example="ModuleNotFoundError: No module named 'fastrlock'\n"
        '  File "/venv/lib/python3.12/site-packages/cupy/__init__.py", line 17',
        source="made with pip",
        condition=lambda machine: not machine.frozen,
    ),
    Check(
        "old-pathfinder",
        "cuda-pathfinder is older than this CuPy needs",
        "CuPy uses a name that only later versions of cuda-pathfinder have.",
        ("Upgrade it: `{pip} install --upgrade cuda-pathfinder`.",),
        says=(
            "cannot import name '{name}' from 'cuda.pathfinder'",
            "module 'cuda.pathfinder' has no attribute '",
        ),
        example="ImportError: cannot import name 'find_nvidia_header_directory' from "
        "'cuda.pathfinder' (/venv/cuda/pathfinder/__init__.py)",
        source="read in CuPy",
    ),
    Check(
        "pytest",
        "CuPy 14.1.0 needs pytest",
        "`cupy.testing` of CuPy 14.1.0 imports pytest, although CuPy does not require it.",
        ("Upgrade to CuPy 14.1.1 or later: {upgrade}.", "Or `{pip} install pytest`."),
        says=("No module named 'pytest'", "module 'cupy.testing' has no attribute 'fix_random'"),
        needs=("cupy/testing", "cupy\\testing", "cupy.testing"),
        example="ModuleNotFoundError: No module named 'pytest'\n"
        '  File "/venv/lib/python3.14/site-packages/cupy/testing/_random.py", line 11',
        source="cupy/cupy#9963",
    ),
    Check(
        "pkg-resources",
        "CuPy needs an older setuptools",
        "`cupy.testing` of this CuPy imports `pkg_resources`, which setuptools 82 has removed.",
        ("Upgrade CuPy: {upgrade}.", 'Or downgrade setuptools: `{pip} install "setuptools<82"`.'),
        says=("No module named 'pkg_resources'",),
        needs=("cupy/testing", "cupy\\testing"),
        raised_by=("cupy", ""),
        example="ModuleNotFoundError: No module named 'pkg_resources'\n"
        "cupy/testing/_helper.py:56: in installed",
        source="cupy/cupy#8446",
    ),
    Check(
        "second-import",
        "CuPy is imported again after a failed import",
        "An earlier `import cupy` failed in this process and left parts of CuPy behind. Only the "
        "first error shows the cause.",
        (
            'Restart Python, and read the first traceback: `python -c "import cupy"`, or '
            "`cupy-compat doctor`.",
        ),
        says=(
            "partially initialized module 'cupy' has no attribute '_util'",
            "partially initialized module 'cupy' from {*} has no attribute '_util'",
        ),
        example="AttributeError: partially initialized module 'cupy' has no attribute '_util' "
        "(most likely due to a circular import)",
        source="rapidsai/cuxfilter#533",
        after=("*",),
    ),
    Check(
        "implicit-conversion",
        "a CuPy array is used where a NumPy array is needed",
        "CuPy's arrays are in GPU memory, and CuPy does not copy them to the host implicitly. "
        "This is an error in the program, not in the installation.",
        ("Convert explicitly: `array.get()` or `cupy.asnumpy(array)`.",),
        says=("Implicit conversion to a NumPy array is not allowed",),
        example="TypeError: Implicit conversion to a NumPy array is not allowed. Please use "
        "`.get()` to construct a NumPy array explicitly.",
        source="MouseLand/pykilosort#67",
        shared=True,
    ),
    Check(
        "numpy-argument",
        "a NumPy array or PyTorch tensor is passed to CuPy",
        "CuPy's functions accept only CuPy arrays. This is an error in the program, not in the "
        "installation.",
        ("Convert explicitly: `cupy.asarray(array)`.",),
        says=(
            "Unsupported type <class 'numpy.ndarray'>",
            "Unsupported type <class 'torch.Tensor'>",
        ),
        example="TypeError: Unsupported type <class 'numpy.ndarray'>",
        source="read in CuPy",
    ),
    Check(
        "rmm-allocator",
        "RMM's allocator for CuPy has moved",
        "The code was written for an older RMM (RAPIDS).",
        ("Use `from rmm.allocators.cupy import rmm_cupy_allocator`.",),
        says=(
            "module 'rmm' has no attribute 'rmm_cupy_allocator'",
            "cannot import name 'rmm_cupy_allocator' from 'rmm'",
        ),
        example="AttributeError: module 'rmm' has no attribute 'rmm_cupy_allocator'",
        source="read in RMM",
    ),
)

"""Compile only ``cupy._util``, like CuPy's own builder, with any version of Cython."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
from pathlib import Path

from cupy_compat.rebuild import source as cupy_source
from cupy_compat.rebuild.process import RebuildError, pip, run, with_modules

#: Runs in an interpreter with Cython and setuptools on its PYTHONPATH.
_COMPILE = """
import json, sys
# Import it first: some versions of Cython need the distutils that it provides.
from setuptools import Extension, setup
from Cython import __version__
from Cython.Build import cythonize

source, directives = sys.argv[1], json.loads(sys.argv[2])
extension = Extension(
    "cupy._util",
    ["cupy/_util.pyx"],
    language="c++",
    include_dirs=[source, source + "/cupy/_core/include"],
    define_macros=[("CUPY_NO_CUDA", "1")],
    extra_compile_args=["-w", "-g0"],
)
# The constants of CuPy's own builder for a build without CUDA. They fit every build: the only
# function of cupy_backends that this module calls has the same declaration for CUDA and HIP.
constants = {
    "CUPY_USE_CUDA_PYTHON": False,
    "CUPY_CUFFT_STATIC": False,
    "CUPY_CYTHON_VERSION": __version__,
    "CUPY_CUDA_VERSION": 0,
    "CUPY_HIP_VERSION": 0,
}
modules = cythonize(
    [extension],
    include_path=[source],
    language_level=3,
    compiler_directives=directives,
    compile_time_env=constants,
)
setup(
    name="cupy-util",
    ext_modules=modules,
    script_args=["-q", "build_ext", "--build-lib", "built", "--build-temp", "objects"],
)
"""


def install_cython(python: Path | str, version: str, into: Path) -> None:
    """Install Cython and setuptools into a folder.

    Parameters
    ----------
    python : Path or str
        The interpreter that will use them.
    version : str
        The version of Cython.
    into : Path
        The folder.

    Raises
    ------
    RebuildError
        If pip fails.
    """
    pip(python, *("install", "--no-compile", "--target", into, f"Cython=={version}", "setuptools"))


def check_compiler(python: Path | str) -> None:
    """Raise an error if extension modules for an interpreter cannot be compiled.

    Raises
    ------
    RebuildError
        If there is no C++ compiler, or if Python's headers are not installed.
    """
    code = "import sysconfig as s; print(s.get_path('include'), s.get_config_var('CXX'), sep='\\n')"
    include, configured = run([python, "-c", code]).stdout.splitlines()
    # Choose the compiler in the same way as setuptools.
    compiler = (shlex.split(os.environ.get("CXX") or configured) or ["c++"])[0]
    if shutil.which(compiler) is None:
        raise RebuildError(
            f"there is no C++ compiler: {compiler} is not on the PATH. Install one (`apt-get "
            "install g++` on Debian and Ubuntu), or set the environment variable CXX to yours"
        )
    if not Path(include, "Python.h").exists():
        raise RebuildError(
            f"Python's headers are missing: there is no {include}/Python.h. Install them "
            "(`apt-get install python3-dev` on Debian and Ubuntu)"
        )


def unknown_directives(python: Path | str, tool: Path, source: Path) -> list[str]:
    """Return the directives of CuPy's builder that this Cython does not know.

    If there are any, this Cython is too old, and CuPy's own build would fail.
    """
    code = "from Cython.Compiler.Options import get_directive_defaults as d; print(*d())"
    known = run([python, "-P", "-c", code], env=with_modules(tool)).stdout.split()
    return sorted(cupy_source.directives(source).keys() - set(known))


def compile_util(
    python: Path | str, tool: Path, source: Path, into: Path, *, fix: bool = False
) -> Path:
    """Compile ``cupy/_util.pyx`` for an interpreter.

    Parameters
    ----------
    python : Path or str
        The interpreter.
    tool : Path
        The folder that contains Cython and setuptools.
    source : Path
        CuPy's unpacked source, which is not changed.
    into : Path
        An existing folder for the compiled module.
    fix : bool, optional
        Whether to apply CuPy's own fix, see `cupy_compat.rebuild.source.apply_fix`.

    Returns
    -------
    Path
        The compiled module. The build is reproducible.

    Raises
    ------
    RebuildError
        If the source is incomplete, or a compiler fails.
    """
    file = source / "cupy" / "_util.pyx"
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise RebuildError(f"cannot read {file}: {error.strerror}") from None
    unknown = unknown_directives(python, tool, source)
    known = {k: v for k, v in cupy_source.directives(source).items() if k not in unknown}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "cupy").mkdir()
        text = cupy_source.apply_fix(text) if fix else text
        (scratch / "cupy" / "_util.pyx").write_text(text, encoding="utf-8")
        run(
            [python, "-P", "-c", _COMPILE, source, json.dumps(known)],
            cwd=scratch,
            env=with_modules(tool),
        )
        (built,) = (scratch / "built").rglob("_util.*")
        target = into / built.name
        target.write_bytes(built.read_bytes())
    return target

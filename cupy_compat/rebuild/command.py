"""The command ``cupy-compat rebuild``: its arguments, its steps and its exit status."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cupy_compat.rebuild import build, source
from cupy_compat.rebuild.install import Installation, digest
from cupy_compat.rebuild.process import RebuildError
from cupy_compat.rebuild.trial import Trial, try_cupy

_PROG = "cupy-compat rebuild"


def main(argv: Sequence[str]) -> int:
    """Compile the broken module of the installed CuPy again, or undo that.

    Parameters
    ----------
    argv : sequence of str
        The arguments behind ``rebuild``.

    Returns
    -------
    int
        0: CuPy needs nothing, or nothing any more; 1: it could not be done; with ``--status`` 0
        if CuPy is rebuilt and 1 if not; 2: usage; 130: interrupted.
    """
    options = _parser().parse_args(argv)
    try:
        # Windows locks a module that a process has loaded, and names its files in other ways.
        if os.name != "posix":
            raise RebuildError("this works on Linux and other POSIX systems only")
        installed = Installation.find()
        if options.status:
            return _status(installed)
        if options.undo:
            return _undo(installed)
        return _rebuild(installed, options)
    except RebuildError as error:
        print(f"{_PROG}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{_PROG}: interrupted; nothing has changed", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROG,
        description="Compile the one broken module of the installed CuPy again, with CuPy's own "
        "fix, and put it in place. The original is kept beside it.",
        epilog="Exit status: 0 done, or nothing to do; 1 failed, and nothing has changed; 2 wrong "
        "usage. With --status: 0 rebuilt, 1 not.",
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--status", action="store_true", help="say whether CuPy is rebuilt")
    action.add_argument("--undo", action="store_true", help="bring the original module back")
    action.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
    parser.add_argument(
        "--source",
        type=Path,
        metavar="PATH",
        help="CuPy's source: a folder, a git checkout or an archive (default: pip downloads the "
        "source distribution of the installed version)",
    )
    parser.add_argument(
        "--cython", metavar="VERSION", help="the Cython to use (default: the one that built CuPy)"
    )
    return parser


def _status(installed: Installation) -> int:
    state = installed.state()
    print(f"CuPy {installed.version}, {installed.module}: {state}")
    if state == "rebuilt":
        print(f"The original is {installed.original}")
    return 0 if state == "rebuilt" else 1


def _undo(installed: Installation) -> int:
    if installed.state() == "as installed":
        print(f"{installed.module} is as it was installed. Nothing to undo.")
        return 0
    installed.check_writable()
    installed.undo()
    print(f"{installed.module} is as it was installed again.")
    return 0


def _rebuild(installed: Installation, options: argparse.Namespace) -> int:
    broken = digest(installed.module.read_bytes())
    before = _examine(installed)
    if before.memoize is None:
        print(f"CuPy {installed.version} does not have this problem. Nothing to rebuild.")
        if before.error is not None:
            print(f"Its import fails for another reason: {before.error}")
            print("`cupy-compat doctor` says more.")
        return 0
    cython = options.cython or before.cython
    if cython is None:
        raise RebuildError("CuPy does not say which Cython compiled it; choose one with --cython")
    print(f"CuPy {installed.version}, compiled with Cython {before.cython}: {before.memoize}")
    installed.check_writable()
    build.check_compiler(sys.executable)
    if options.dry_run:
        print(f"would get the source from {options.source or 'the package index, by pip'}")
        print(f"would compile cupy/_util.pyx with CuPy's fix and Cython {cython}, and try it")
        print(f"would replace {installed.module}, and keep the original beside it")
        if installed.record is not None:
            print(f"would enter both in {installed.record}")
        return 0
    with tempfile.TemporaryDirectory(prefix="cupy-compat-rebuild-") as folder:
        candidate = _compile(installed.version, cython, options.source, Path(folder))
        print("trying it")
        tried = try_cupy(candidate)
        _check(before, tried, candidate)
        installed.replace(candidate.read_bytes(), broken)
    print(f"replaced {installed.module}")
    print(f"kept the original as {installed.original.name}; --undo brings it back")
    if installed.installer not in ("pip", "uv"):
        print(
            f"This CuPy was not installed by pip or uv (but by: {installed.installer}). Undo the "
            "rebuild before you remove or upgrade it, or the original stays behind."
        )
    if tried.error is not None:
        print(f"The module works now. CuPy's import fails for another reason: {tried.error}")
        print("`cupy-compat doctor` says more.")
    return 0


def _examine(installed: Installation) -> Trial:
    """Return how the installed module does."""
    found = try_cupy()
    if found.file is None:
        raise RebuildError(
            f"the import of CuPy fails before its module _util is loaded: {found.error}. "
            "`cupy-compat doctor` says more"
        )
    if not os.path.samefile(found.file, installed.module):
        raise RebuildError(f"Python imports {found.file} and not {installed.module}")
    return found


def _compile(version: str, cython: str, given: Path | None, folder: Path) -> Path:
    """Return the compiled module, made in that folder."""
    parts = tool, unpacked, built = [folder / name for name in ("tool", "source", "built")]
    for part in parts:
        part.mkdir()
    print(f"installing Cython {cython} into a temporary folder")
    build.install_cython(sys.executable, cython, tool)
    if given is None:
        print(f"downloading the source of CuPy {version}")
        tree = source.fetch(sys.executable, version, unpacked)
    elif given.is_dir():
        tree = given.absolute()
    else:
        tree = source.unpack(given, unpacked)
    stated = source.version_of(tree / "cupy")
    if stated != version:
        raise RebuildError(f"the source is of CuPy {stated}; installed is CuPy {version}")
    print("compiling cupy/_util.pyx with CuPy's fix")
    return build.compile_util(sys.executable, tool, tree, built, repaired=True)


def _check(before: Trial, tried: Trial, candidate: Path) -> None:
    """Raise an error unless the candidate works, and is otherwise what is installed."""
    if tried.file != str(candidate):
        raise RebuildError(
            f"the compiled module cannot be loaded: {tried.error}. The source may not be that of "
            "the installed CuPy; name the right one with --source"
        )
    different = before.differences(tried)
    if different:
        raise RebuildError(
            "the source is not that of the installed CuPy: their modules _util differ in "
            f"{', '.join(different)}. Name the right source with --source"
        )
    if tried.memoize is not None:
        raise RebuildError(
            f"the compiled module fails, too: {tried.memoize}. Choose another Cython with --cython"
        )

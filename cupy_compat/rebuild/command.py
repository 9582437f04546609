"""The command ``cupy-compat rebuild``: its arguments, its steps and its exit status."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cupy_compat.doctor.trial import Attempt, Interpreter, TrialError, try_cupy
from cupy_compat.rebuild import build, source
from cupy_compat.rebuild.install import Installation, digest
from cupy_compat.rebuild.process import RebuildError

_PROG = "cupy-compat rebuild"
#: Seconds that the import of CuPy may take.
_LIMIT = 300.0


def main(argv: Sequence[str]) -> int:
    """Recompile the broken module of the installed CuPy, or undo that.

    Parameters
    ----------
    argv : sequence of str
        The arguments after ``rebuild``.

    Returns
    -------
    int
        The exit status, as ``--help`` describes it.
    """
    options = _parser().parse_args(argv)
    try:
        # Windows locks a loaded module, and has other file names.
        if os.name != "posix":
            raise RebuildError("this works on Linux and other POSIX systems only")
        installed = Installation.find()
        if options.status:
            return _status(installed)
        if options.undo:
            return _undo(installed)
        return _rebuild(installed, options)
    except (RebuildError, TrialError) as error:
        print(f"{_PROG}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{_PROG}: interrupted; --status shows the state of CuPy", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROG,
        description="Recompile the broken module of the installed CuPy with CuPy's own fix, and "
        "replace it. The original is kept beside it. If a step fails, nothing changes.",
        epilog="Exit status: 0 done, or nothing to do; 1 failed; 2 wrong usage; 130 interrupted. "
        "With --status: 0 rebuilt; 1 not.",
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--status", action="store_true", help="print whether CuPy is rebuilt")
    action.add_argument("--undo", action="store_true", help="restore the original module")
    action.add_argument(
        "--dry-run", action="store_true", help="print what would be done, and change nothing"
    )
    parser.add_argument(
        "--source",
        type=Path,
        metavar="PATH",
        help="CuPy's source: a folder, a git checkout or an archive (default: pip downloads the "
        "source distribution of the installed version)",
    )
    parser.add_argument(
        "--cython",
        metavar="VERSION",
        help="the version of Cython to use (default: the one that compiled CuPy)",
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
        print(f"{installed.module} is the original. Nothing to undo.")
        return 0
    installed.check_writable()
    installed.undo()
    print(f"{installed.module} is the original again.")
    return 0


def _rebuild(installed: Installation, options: argparse.Namespace) -> int:
    installed_digest = digest(installed.module.read_bytes())
    before = _examine(installed)
    failure = before.failure("memoize")
    if failure is None:
        print(f"CuPy {installed.version} does not have this problem. Nothing to rebuild.")
        _report_other_failure(before)
        return 0
    compiled_with = before.values["util"]["cython"]
    cython = options.cython or compiled_with
    if cython is None:
        raise RebuildError("CuPy does not say which Cython compiled it; choose one with --cython")
    print(f"CuPy {installed.version}, compiled with Cython {compiled_with}: {failure.said}")
    installed.check_writable()
    build.check_compiler(sys.executable)
    if options.dry_run:
        print(f"would get the source from {options.source or 'the package index, with pip'}")
        print(f"would compile cupy/_util.pyx with CuPy's fix and Cython {cython}, and test it")
        print(f"would replace {installed.module}, and keep the original beside it")
        if installed.record is not None:
            print(f"would add both to {installed.record}")
        return 0
    with tempfile.TemporaryDirectory(prefix="cupy-compat-rebuild-") as folder:
        candidate = _compile(installed.version, cython, options.source, Path(folder))
        print("testing the compiled module")
        after = try_cupy(Interpreter(), "util", _LIMIT, candidate)
        _check(before, after, candidate)
        installed.replace(candidate.read_bytes(), installed_digest)
    print(f"replaced {installed.module}")
    print(f"kept the original as {installed.original.name}; --undo restores it")
    if installed.installer not in ("pip", "uv"):
        print(
            f"This CuPy was not installed by pip or uv (but by: {installed.installer}). Undo the "
            "rebuild before you remove or upgrade CuPy; otherwise the original is left behind."
        )
    _report_other_failure(after)
    return 0


def _report_other_failure(attempt: Attempt) -> None:
    failure = attempt.failure("import")
    if failure is not None:
        print(f"The import of CuPy fails for another reason: {failure.said}")
        print("Run `cupy-compat doctor` for the cause.")


def _examine(installed: Installation) -> Attempt:
    """Try the installed module."""
    attempt = try_cupy(Interpreter(), "util", _LIMIT)
    if "util" not in attempt.values:
        raise RebuildError(
            "the import of CuPy fails before it loads cupy._util: "
            f"{attempt.failures[0].said}. Run `cupy-compat doctor` for the cause"
        )
    file = attempt.values["util"]["file"]
    if not os.path.samefile(file, installed.module):
        raise RebuildError(f"Python imports {file} instead of {installed.module}")
    return attempt


def _compile(version: str, cython: str, source_path: Path | None, folder: Path) -> Path:
    """Compile the module in that folder, and return its path."""
    folders = tool, unpacked, built = [folder / name for name in ("tool", "source", "built")]
    for each in folders:
        each.mkdir()
    if source_path is None:
        print(f"downloading the source of CuPy {version}")
        tree = source.fetch(sys.executable, version, unpacked)
    elif source_path.is_dir():
        tree = source_path.absolute()
    else:
        tree = source.unpack(source_path, unpacked)
    stated = source.version_of(tree / "cupy")
    if stated != version:
        raise RebuildError(f"the source is CuPy {stated}, but CuPy {version} is installed")
    print(f"installing Cython {cython} into a temporary folder")
    build.install_cython(sys.executable, cython, tool)
    print("compiling cupy/_util.pyx with CuPy's fix")
    return build.compile_util(sys.executable, tool, tree, built, fix=True)


def _check(before: Attempt, after: Attempt, candidate: Path) -> None:
    """Raise an error unless the candidate works and has the interface of the installed module."""
    if after.values.get("util", {}).get("file") != str(candidate):
        raise RebuildError(
            f"the compiled module cannot be loaded: {after.failures[0].said}. Check that --source "
            "is the source of the installed CuPy"
        )
    old, new = before.values["util"]["names"], after.values["util"]["names"]
    different = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    if different:
        raise RebuildError(
            "the source is not that of the installed CuPy: their modules _util differ in "
            f"{', '.join(different)}. Give the right source with --source"
        )
    failure = after.failure("memoize")
    if failure is not None:
        raise RebuildError(
            f"the compiled module fails, too: {failure.said}. Choose another Cython with --cython"
        )

"""The command ``cupy-compat run``, which runs a program armed, with all its child processes.

The process becomes ``python`` itself, so arguments, ``__main__``, exit status, signals and
tracebacks are the same. A folder on ``PYTHONPATH`` arms the program, and its children inherit it.
The variable ``CUPY_COMPAT_RUN`` identifies the Pythons of this environment. Only these load
``cupy_compat`` from outside their path if necessary, and report a failure to arm.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import PathFinder

#: The folder whose ``sitecustomize`` arms.
SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "site")


def main(argv: Sequence[str]) -> int:
    """Replace this process by a Python that runs a program, armed on every version.

    Parameters
    ----------
    argv : sequence of str
        The arguments of ``python``: a script, ``-m module``, ``-c code`` or ``-``, followed by the
        program's own arguments.

    Returns
    -------
    int
        The exit status, on Windows or after ``--help``. Elsewhere the call does not return.
    """
    parser = argparse.ArgumentParser(
        prog="cupy-compat run",
        usage="cupy-compat run (SCRIPT | -m MODULE | -c CODE | -) [ARGUMENT ...]",
        description="Run a program as python does, and repair its CuPy if it is broken. This "
        "works on every Python, and in child processes that inherit the environment.",
        epilog="Put Python's own options first: python -X dev -m cupy_compat run SCRIPT. "
        "Exit status: the program's; 2 also for wrong usage.",
    )
    program = list(argv)
    if program[:1] in (["-h"], ["--help"]):
        parser.print_help()
        return 0
    if not program:
        parser.error("name a program to run")
    if program[0] != "-" and program[0].startswith("-") and program[0][:2] not in ("-m", "-c"):
        parser.error(f"{program[0]}: put Python's own options first: python {program[0]} ...")
    if sys.flags.ignore_environment or sys.flags.no_site:
        parser.error("python's options -I, -E and -S prevent the repair; omit them")
    if os.pathsep in SITE:
        parser.error(f"PYTHONPATH cannot contain {SITE}, because of the {os.pathsep!r} in it")
    python = [sys.executable, *own_options(sys.orig_argv[1:]), *program]
    inherited = os.environ.get("PYTHONPATH")
    # A nested run must not change anything.
    folders = [folder for folder in (inherited or "").split(os.pathsep) if folder != SITE]
    changes = {
        "PYTHONPATH": os.pathsep.join([SITE, *(folders if inherited else [])]),
        "CUPY_COMPAT_RUN": f"{sys.implementation.cache_tag}:{os.path.realpath(sys.prefix)}",
    }
    before = _sitecustomize_before_pythonpath()
    if before:
        print(
            "cupy-compat run: cannot repair CuPy here: a .pth file puts another sitecustomize "
            f"first: {before}",
            file=sys.stderr,
        )
    return _replace_process(python, {**os.environ, **changes})


def own_options(words: Iterable[str]) -> list[str]:
    """Return the interpreter options at the beginning of a command line.

    Parameters
    ----------
    words : iterable of str
        The command line without the interpreter's name: ``sys.orig_argv[1:]``.

    Returns
    -------
    list of str
        The options before the script, the module or the code.
    """
    rest = iter(words)
    found: list[str] = []
    for word in rest:
        if word == "--check-hash-based-pycs":
            found += [word, next(rest)]
            continue
        if word in ("-", "--") or not word.startswith("-"):
            break
        # A word may combine options, up to the first that takes a value: -Bm module, -Wignore.
        end = next((i for i, letter in enumerate(word) if letter in "cmWX"), len(word))
        if word[end : end + 1] in ("c", "m"):
            found += [word[:end]] if end > 1 else []
            break
        found.append(word)
        if end == len(word) - 1:
            found.append(next(rest))
    return found


def _sitecustomize_before_pythonpath() -> str | None:
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    known = {os.path.dirname(os.__file__), *map(os.path.abspath, folders)}
    # The first entry depends on how this command was called.
    fixed_path = sys.path if sys.flags.safe_path else sys.path[1:]
    before = list(itertools.takewhile(lambda folder: folder not in known, fixed_path))
    spec = PathFinder.find_spec("sitecustomize", before)
    return spec.origin if spec else None


def _replace_process(command: list[str], environment: dict[str, str]) -> int:
    if sys.platform == "win32":
        import subprocess

        # On Windows, exec returns to the shell while the program is still running.
        return subprocess.run(command, env=environment, check=False).returncode
    os.execve(command[0], command, environment)

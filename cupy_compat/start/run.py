"""The command ``cupy-compat run``: a program as ``python`` runs it, armed, and all its children.

The process becomes that Python, so arguments, ``__main__``, exit status, signals and tracebacks
are Python's own. A folder on ``PYTHONPATH`` arms it: whatever it starts inherits that. A variable
tells the Pythons of this environment from others: only they use a ``cupy_compat`` that they cannot
import by themselves, and report that they could not arm.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import PathFinder

#: The folder whose ``sitecustomize`` arms.
START = os.path.join(os.path.dirname(os.path.abspath(__file__)), "site")


def main(argv: Sequence[str]) -> int:
    """Become a Python that runs a program, armed on any version.

    Parameters
    ----------
    argv : sequence of str
        What ``python`` would be given: a script, ``-m module``, ``-c code`` or ``-``, and then the
        program's own arguments.

    Returns
    -------
    int
        The exit status, where there is anything to return to.
    """
    parser = argparse.ArgumentParser(
        prog="cupy-compat run",
        usage="cupy-compat run (SCRIPT | -m MODULE | -c CODE | -) [ARGUMENT ...]",
        description="Run a program as python would, with its CuPy repaired if it is broken; in "
        "every process that it starts, and on every Python.",
        epilog="Python's own options come before: python -X dev -m cupy_compat run SCRIPT.",
    )
    program = list(argv)
    if program[:1] in (["-h"], ["--help"]):
        parser.print_help()
        return 0
    if not program:
        parser.error("what is to be run?")
    if program[0] != "-" and program[0].startswith("-") and program[0][:2] not in ("-m", "-c"):
        parser.error(f"{program[0]}: options of python's own come before: python {program[0]} ...")
    if sys.flags.ignore_environment or sys.flags.no_site:
        parser.error("under python's -I, -E and -S nothing can be armed; leave them out")
    if os.pathsep in START:
        parser.error(f"no folder with {os.pathsep!r} in its name can be armed from: {START}")
    python = [sys.executable, *own_options(sys.orig_argv[1:]), *program]
    inherited = os.environ.get("PYTHONPATH")
    # A run within a run changes nothing.
    folders = [folder for folder in (inherited or "").split(os.pathsep) if folder != START]
    changes = {
        "PYTHONPATH": os.pathsep.join([START, *(folders if inherited else [])]),
        "CUPY_COMPAT_RUN": f"{sys.implementation.cache_tag}:{os.path.realpath(sys.prefix)}",
    }
    before = _sitecustomize_before_pythonpath()
    if before:
        print(
            f"cupy-compat run: cannot arm this program: a .pth file has Python start with {before}",
            file=sys.stderr,
        )
    return _become(python, {**os.environ, **changes})


def own_options(words: Iterable[str]) -> list[str]:
    """Return the options of Python itself that a command line begins with.

    Parameters
    ----------
    words : iterable of str
        The command line without the interpreter's name: ``sys.orig_argv[1:]``.

    Returns
    -------
    list of str
        Those before the script, the module or the code.
    """
    rest = iter(words)
    found: list[str] = []
    for word in rest:
        if word == "--check-hash-based-pycs":
            found += [word, next(rest)]
            continue
        if word in ("-", "--") or not word.startswith("-"):
            break
        # Letters may share a word, up to the first that takes a value: -Bm module, -Wignore.
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
    # The first entry belongs to the way this command was called.
    lasting = sys.path if sys.flags.safe_path else sys.path[1:]
    before = list(itertools.takewhile(lambda folder: folder not in known, lasting))
    spec = PathFinder.find_spec("sitecustomize", before)
    return spec.origin if spec else None


def _become(command: list[str], environment: dict[str, str]) -> int:
    if sys.platform == "win32":
        import subprocess

        # There exec returns to the shell while the program still runs.
        return subprocess.run(command, env=environment, check=False).returncode
    os.execve(command[0], command, environment)

"""Child processes: pip, compilers and trials, each with an error that shows what it printed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

#: How much of a failed command's output an error shows.
_LINES = 20


class RebuildError(Exception):
    """A step cannot be done; the message says why, and what to do."""


def run(
    command: Sequence[str | Path],
    *,
    check: bool = True,
    cwd: Path | None = None,
    env: Mapping[str, str] = {},
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command and return what it printed.

    Parameters
    ----------
    command : sequence of str or Path
        The program and its arguments.
    check : bool, optional
        Whether a failure raises an error.
    cwd : Path, optional
        The folder to run it in.
    env : mapping, optional
        Environment variables to set, beside those that are inherited.
    timeout : float, optional
        Seconds after which the command is ended.

    Raises
    ------
    RebuildError
        If the command cannot be started, takes too long, or fails.
    """
    # A program on the command line would hide what the message is about.
    words = " ".join("..." if "\n" in str(word) else str(word) for word in command)
    try:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RebuildError(f"`{words}` took longer than {timeout:g} seconds") from None
    except OSError as error:
        raise RebuildError(f"`{words}` cannot be started: {error.strerror}") from None
    if check and done.returncode != 0:
        # What went wrong is said last, behind hundreds of warnings of Cython's.
        said = "\n".join((done.stdout + done.stderr).splitlines()[-_LINES:])
        raise RebuildError(f"`{words}` failed with exit status {done.returncode}:\n{said}")
    return done


def pip(python: Path | str, *arguments: str | Path, env: Mapping[str, str] = {}) -> None:
    """Run pip: the interpreter's own, or else the one that Python bundles for ``ensurepip``.

    Raises
    ------
    RebuildError
        If there is no pip, or if it fails.
    """
    quiet = ["--disable-pip-version-check", "-q", *arguments]
    if run([python, "-c", "import pip"], check=False).returncode == 0:
        run([python, "-m", "pip", *quiet], env=env)
        return
    # An environment made by uv has no pip; a wheel of pip can be run as it is.
    spec = importlib.util.find_spec("ensurepip")
    folders = [Path(spec.origin).parent / "_bundled"] if spec and spec.origin else []
    wheels = [wheel for folder in folders for wheel in folder.glob("pip-*.whl")]
    if not wheels:
        raise RebuildError(f"{python} has no pip; install it, for example by `uv pip install pip`")
    run([python, wheels[0] / "pip", *quiet], env=env)


def with_modules(folder: Path) -> dict[str, str]:
    """Return the environment in which an interpreter finds the modules of a folder first."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.getenv("PYTHONPATH")]))}


def this_python() -> list[str]:
    """Return the start of a command line that runs this interpreter, not what lies around it."""
    if not sys.executable:
        raise RebuildError("this Python does not know its own interpreter")
    # Without -P, a file in the working folder could shadow a module of the standard library.
    return [sys.executable, "-P"]

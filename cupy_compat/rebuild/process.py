"""Run pip and compilers as child processes, and show their output in errors."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

#: How many lines of a failed command's output an error shows.
_LINES = 20


class RebuildError(Exception):
    """A rebuild cannot be done; the message says why, and what to do."""


def run(
    command: Sequence[str | Path],
    *,
    check: bool = True,
    cwd: Path | None = None,
    env: Mapping[str, str] = {},
) -> subprocess.CompletedProcess[str]:
    """Run a command, and return its result with its output.

    Parameters
    ----------
    command : sequence of str or Path
        The program and its arguments.
    check : bool, optional
        Whether a failure raises an error.
    cwd : Path, optional
        The folder to run it in.
    env : mapping, optional
        Environment variables to set in addition to the inherited ones.

    Raises
    ------
    RebuildError
        If the command cannot be started, or fails.
    """
    # The text of a program would bury the message.
    invocation = " ".join("..." if "\n" in str(word) else str(word) for word in command)
    try:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
        )
    except OSError as error:
        raise RebuildError(f"`{invocation}` cannot be started: {error.strerror}") from None
    if check and done.returncode != 0:
        # The error comes last, after hundreds of warnings by Cython.
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-_LINES:])
        raise RebuildError(f"`{invocation}` failed with exit status {done.returncode}:\n{tail}")
    return done


def pip(python: Path | str, *arguments: str | Path, env: Mapping[str, str] = {}) -> None:
    """Run the pip of an interpreter, or else the one that Python bundles for ``ensurepip``.

    Raises
    ------
    RebuildError
        If there is no pip, or pip fails.
    """
    quiet = ["--disable-pip-version-check", "-q", *arguments]
    if run([python, "-c", "import pip"], check=False).returncode == 0:
        run([python, "-m", "pip", *quiet], env=env)
        return
    # An environment made by uv has no pip. A wheel of pip can be run directly.
    spec = importlib.util.find_spec("ensurepip")
    folders = [Path(spec.origin).parent / "_bundled"] if spec and spec.origin else []
    wheels = [wheel for folder in folders for wheel in folder.glob("pip-*.whl")]
    if not wheels:
        raise RebuildError(
            f"{python} has no pip; install it, for example with `uv pip install pip`"
        )
    run([python, wheels[0] / "pip", *quiet], env=env)


def with_modules(folder: Path) -> dict[str, str]:
    """Return environment variables with which an interpreter imports from a folder first."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.getenv("PYTHONPATH")]))}

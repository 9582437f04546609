"""A plugin for airspeed velocity: environments whose labels are verified.

The environment type ``matrix`` installs what its labels say (``cupy: 13.4.1``, ``build: Cython
3.1.1, repaired``). The type ``installed`` uses an interpreter as it is, and determines its labels.
Both pass the labels to each benchmark process in ``ASV_LABELS``, and ``benchmarks/environment.py``
refuses an interpreter that does not match.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from asv import util
from asv.commands import run as asv_run
from asv.environment import ExistingEnvironment
from asv.plugins.virtualenv import Virtualenv

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import testbed  # noqa: E402

from benchmarks.labels import PUBLISHED  # noqa: E402

#: The packages that the commits import, in the same versions for all.
COMMON = {"numba": "0.68.0", "rich": "15.0.0", "wrapt": "2.5.2"}


def _name(tool: str, labels: dict[str, str]) -> str:
    """Return a name without spaces, for files and for ``asv run -E NAME``."""
    build = labels["build"].replace(",", "").replace(" ", "-").lower()
    return f"{tool}-py{labels['python']}-cupy{labels['cupy']}-{build}-numpy{labels['numpy']}"


class Matrix(Virtualenv):  # type: ignore[misc]
    """A virtualenv with the CuPy that its labels name, recompiled with their Cython if any."""

    tool_name = "matrix"

    def __init__(self, conf: Any, python: str, requirements: Any, tagged_env_vars: Any) -> None:
        self._labels = {"python": python, **requirements}
        super().__init__(conf, python, requirements, tagged_env_vars)
        self._global_env_vars["ASV_LABELS"] = json.dumps(self._labels)

    @property
    def name(self) -> str:
        """The labels, in one word."""
        return _name(self.tool_name, self._labels)

    def _install_requirements(self) -> None:
        asked = self._requirements
        self._requirements = {"cupy-cuda12x": asked["cupy"], "numpy": asked["numpy"], **COMMON}
        try:
            super()._install_requirements()
        finally:
            self._requirements = asked
        if asked["build"] != PUBLISHED:
            cython = asked["build"].removeprefix("Cython ").partition(",")[0]
            testbed.break_cupy(self.find_executable("python"), cython)


class Installed(ExistingEnvironment):  # type: ignore[misc]
    """An existing interpreter, labelled with its versions."""

    tool_name = "installed"

    def __init__(self, conf: Any, executable: str, requirements: Any, tagged_env_vars: Any) -> None:
        if requirements or tagged_env_vars:
            raise util.UserError(
                "an installed interpreter has no matrix: add --config asv.installed.conf.json"
            )
        executable = sys.executable if executable == "same" else executable
        self._labels = self._found(executable)
        super().__init__(conf, executable, {}, {})
        self._requirements = dict(self._labels)
        # asv would label the results with the interpreter's path.
        self._python = self._requirements.pop("python")

    @staticmethod
    def _found(executable: str) -> dict[str, str]:
        command = [executable, str(ROOT / "benchmarks" / "labels.py")]
        try:
            asked = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", "") or error
            raise util.UserError(f"{executable} cannot be labelled: {reason}") from error
        return dict(json.loads(asked.stdout))

    @property
    def name(self) -> str:
        """The labels, in one word."""
        return _name(self.tool_name, self._labels)

    def run(self, args: list[str], **kwargs: Any) -> Any:
        """Run the interpreter with its labels in the environment."""
        labels = {"ASV_LABELS": json.dumps(self._labels), "ASV_ENV_TYPE": self.tool_name}
        kwargs["env"] = {**kwargs.get("env", os.environ), **labels}
        return super().run(args, **kwargs)


def setup() -> None:
    """Make ``asv run --quick`` save nothing, because one sample is no result. asv calls this."""
    run = asv_run.Run.run.__func__

    def run_and_keep(cls: Any, *args: Any, quick: bool = False, **options: Any) -> Any:
        options["dry_run"] = quick or options.get("dry_run", False)
        return run(cls, *args, quick=quick, **options)

    asv_run.Run.run = classmethod(run_and_keep)

"""Environments in which CuPy genuinely fails, made with pip from the package index.

Each has a recipe: a CuPy of the test bed to start from, and pip commands. An environment that
starts from a CuPy of the test bed links to its files. All are kept in the store of the test bed.

Usage::

    python tests/doctor_environments.py [NAME...]    # makes these, or all
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pip
import testbed


@dataclass(frozen=True)
class Recipe:
    """The published CuPy to start from, if any, and the pip commands to run."""

    base: str | None
    commands: tuple[str, ...]


RECIPES = {
    # These two download nothing that the default tests do not.
    "no-fastrlock": Recipe("13.5.1", ("uninstall -y fastrlock",)),
    "no-numpy": Recipe("13.5.1", ("uninstall -y numpy",)),
    "no-pathfinder": Recipe("14.2.0", ("uninstall -y cuda-pathfinder",)),
    "numpy-1": Recipe("14.2.0", ("install numpy==1.26.4",)),
    "two-distributions": Recipe("13.5.1", ("install cupy-cuda11x==13.5.1",)),
    "one-of-two-removed": Recipe(
        "13.5.1", ("install cupy-cuda11x==13.5.1", "uninstall -y cupy-cuda11x")
    ),
    "np.float_-13.0": Recipe(
        None, ("install --no-deps cupy-cuda12x==13.0.0", "install numpy==2.0.2 fastrlock")
    ),
    "np.float_-13.1": Recipe(
        None, ("install --no-deps cupy-cuda12x==13.1.0", "install numpy==2.0.2 fastrlock")
    ),
    "other-abi": Recipe(
        None,
        (
            "install --no-deps --only-binary=:all: --python-version 3.11 --target {site} "
            "cupy-cuda12x==13.5.1",
            "install numpy==2.2.6 fastrlock",
        ),
    ),
    "rocm-5": Recipe(None, ("install cupy-rocm-5-0==13.3.0 numpy<2.3",)),
    "rocm-7": Recipe(None, ("install cupy-rocm-7-0==14.2.0",)),
    "cupy-12": Recipe(None, ("install cupy-cuda12x==12.3.0 numpy<2",)),
    "cupy-12-cuda11x": Recipe(None, ("install cupy-cuda11x==12.3.0 numpy<2",)),
    "cuda13x": Recipe(None, ("install cupy-cuda13x==14.2.0",)),
    "nvrtc": Recipe("13.5.1", ("install nvidia-cuda-nvrtc-cu12==12.9.86",)),
    "toolkit": Recipe("14.2.0", ("install cupy-cuda12x[ctk]==14.2.0",)),
    # cuSPARSE of one CUDA beside the nvJitLink of an older one, and without any.
    "nvjitlink": Recipe(
        "14.2.0",
        (
            "install --no-deps nvidia-cusparse-cu12==12.5.10.65 nvidia-nvjitlink-cu12==12.0.140",
            "install --no-deps nvidia-cublas-cu12==12.9.1.4 nvidia-cusolver-cu12==11.7.5.82",
        ),
    ),
    "no-nvjitlink": Recipe("14.2.0", ("install --no-deps nvidia-cusparse-cu12==12.5.10.65",)),
    "cupy-14.1.0": Recipe(None, ("install cupy-cuda12x==14.1.0",)),
    # A pandas that was compiled for NumPy 1, beside NumPy 2.
    "old-pandas": Recipe(
        None, ("install --no-deps pandas==2.1.4 numpy==2.0.2 python-dateutil pytz six tzdata",)
    ),
}


def make(python: Path | str, name: str) -> Path:
    """Return the interpreter of the environment with that name, and make it if it is missing."""
    recipe = RECIPES[name]

    def build(env: Path) -> None:
        if recipe.base is None:
            testbed._run([python, "-m", "venv", env])
        else:
            testbed.copy(python, testbed.healthy(python, recipe.base), env)
        inside = testbed._python(env)
        site = testbed._site_packages(inside)
        for command in recipe.commands:
            testbed._pip(python, "--python", str(inside), *command.format(site=site).split())

    return testbed._python(testbed._once(f"{testbed._tag(python)}-doctor-{name}", build))


def with_pip(origin: Path, env: Path) -> Path:
    """Make an environment with pip and the packages of another one, and return its interpreter."""
    testbed.copy(sys.executable, origin, env)
    python = testbed._python(env)
    shutil.copytree(Path(pip.__file__).parent, testbed._site_packages(python) / "pip")
    return python


if __name__ == "__main__":
    for wanted in sys.argv[1:] or RECIPES:
        print(wanted, make(sys.executable, wanted), flush=True)

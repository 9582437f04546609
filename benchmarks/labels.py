"""The labels of an interpreter: its Python, CuPy, build and NumPy.

``python benchmarks/labels.py`` prints the labels of the interpreter that runs it, as JSON.
"""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from importlib import metadata

#: The label of a CuPy that its maintainers built.
PUBLISHED = "published"

REPAIR = """
import cupy_compat
cupy_compat.install(force=True)
import cupy
status = cupy_compat.status()
print(f"Cython {status.cython}, {status.state}")
"""


class WrongLabels(RuntimeError):
    """The interpreter does not match the labels of its results."""


def found():
    """Return the labels of this interpreter: python, cupy, build and numpy."""
    distribution = _cupy()
    return {
        "python": "{}.{}".format(*sys.version_info[:2]),
        "cupy": distribution.version if distribution else "none",
        "build": _build(distribution) if distribution else "none",
        "numpy": _version("numpy"),
    }


def check(expected):
    """Raise ``WrongLabels`` if an expected label differs from the interpreter's."""
    true = found()
    wrong = {name: value for name, value in expected.items() if true.get(name) != value}
    if wrong:
        differences = ", ".join(
            f"{name} {value!r} (found {true.get(name)!r})" for name, value in wrong.items()
        )
        raise WrongLabels(
            f"{sys.executable} does not match the labels of its results: {differences}. "
            "Remove .asv/env and run again, or measure the installed packages with "
            "`asv run --config asv.installed.conf.json`"
        )


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def _cupy():
    """Return the distribution that holds ``cupy``; without importing it, which costs memory."""
    names = sorted(set(metadata.packages_distributions().get("cupy", [])))
    if len(names) > 1:
        raise WrongLabels(f"several CuPys are installed ({', '.join(names)}); remove all but one")
    return metadata.distribution(names[0]) if names else None


def _build(distribution):
    """Return ``published``, or the Cython that compiled CuPy and what the shim makes of it."""
    utils = [f for f in distribution.files or [] if re.fullmatch(r"cupy/_util\..*(so|pyd)", str(f))]
    if len(utils) != 1:
        raise WrongLabels(f"{distribution.name} has no single cupy/_util extension module")
    with open(utils[0].locate(), "rb") as module:
        content = module.read()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    # CuPy publishes its wheels under names with a platform; what is called cupy was built here.
    if distribution.name != "cupy" and utils[0].hash and utils[0].hash.value == digest:
        return PUBLISHED
    return _outcome()


def _outcome():
    """Return what compiled this CuPy and what the shim makes of it.

    In another process, since this one is measured.
    """
    env = {name: value for name, value in os.environ.items() if name != "CUPY_COMPAT"}
    done = subprocess.run(
        [sys.executable, "-c", REPAIR], env=env, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else "failing under the shim"


if __name__ == "__main__":
    print(json.dumps(found()))

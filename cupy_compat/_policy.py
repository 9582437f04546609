"""Whether the shim should do anything, from ``CUPY_COMPAT`` and the version of Python."""

import sys
from os import environ

VARIABLE = "CUPY_COMPAT"
#: The first Python on which CuPys that fail are met without anybody asking for them.
FIRST_PYTHON = (3, 13)

_warned = False


def decide() -> "tuple[bool, str]":
    """Decide by the environment as it is now; a value that is not valid warns once.

    Returns
    -------
    tuple of bool and str
        Whether to arm, and why, in a sentence.
    """
    chosen = environ.get(VARIABLE) or "auto"
    if chosen not in ("auto", "always", "never"):
        _warn(chosen)
        chosen = "auto"
    if chosen != "auto":
        return chosen == "always", f"{VARIABLE}={chosen} is set."
    version = sys.version_info[:2]
    return (
        version >= FIRST_PYTHON,
        f"On Python {version[0]}.{version[1]} nothing is done "
        f"unless {VARIABLE}=always or install(force=True) asks for it.",
    )


def _warn(value: str) -> None:
    global _warned
    if _warned:
        return
    _warned = True
    import warnings

    # Up through decide() and its caller, to the line that imports or installs.
    warnings.warn(
        f"{VARIABLE}={value!r} is not valid; using 'auto'. "
        "The values are 'auto', 'always' and 'never'.",
        RuntimeWarning,
        stacklevel=4,
    )

"""The policy: whether to arm, by ``CUPY_COMPAT`` and the version of Python."""

import sys
from os import environ

VARIABLE = "CUPY_COMPAT"
#: The first Python on which the policy ``auto`` arms.
FIRST_PYTHON = (3, 13)

_warned = False


def decide() -> "tuple[bool, str]":
    """Apply the policy to the current environment. An invalid value causes one warning.

    Returns
    -------
    tuple of bool and str
        Whether to arm; and a sentence that says why, or how to arm.
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
        f"On Python {version[0]}.{version[1]}, "
        f"set {VARIABLE}=always or call install(force=True) to repair CuPy.",
    )


def _warn(value: str) -> None:
    global _warned
    if _warned:
        return
    _warned = True
    import warnings

    # Report the line that imports cupy_compat or calls install(), not decide() or its caller.
    warnings.warn(
        f"{VARIABLE}={value!r} is not valid; using 'auto'. "
        "The values are 'auto', 'always' and 'never'.",
        RuntimeWarning,
        stacklevel=4,
    )

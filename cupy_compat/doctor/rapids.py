"""A check for ``rapids doctor``, which finds it by the entry point ``rapids_doctor_check``."""

from __future__ import annotations

from typing import Any

from .diagnosis import examine
from .report import as_text, verdict
from .trial import Interpreter


def cupy_check(verbose: bool = False, **options: Any) -> str:
    """Check that CuPy imports, and works where there is a GPU.

    Parameters
    ----------
    verbose : bool
        Passed by rapids-cli, which prints the returned text only then.
    **options
        What later versions of rapids-cli may pass.

    Returns
    -------
    str
        The verdict.

    Raises
    ------
    ValueError
        If CuPy does not import, or does not work; the message is the doctor's report.
    """
    found = examine(Interpreter(), gpu=False, limit=120.0)
    if not found.imports or found.works is False:
        raise ValueError(as_text(found))
    return verdict(found)

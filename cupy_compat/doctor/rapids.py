"""A check for ``rapids doctor``, registered as the entry point ``rapids_doctor_check``."""

from __future__ import annotations

from typing import Any

from .diagnosis import examine
from .report import as_text, verdict
from .trial import Interpreter


def cupy_check(verbose: bool = False, **options: Any) -> str:
    """Check that CuPy imports and, if there is a GPU, works.

    Parameters
    ----------
    verbose : bool
        Whether rapids-cli prints the returned text. Not used here.
    **options
        Arguments of later versions of rapids-cli.

    Returns
    -------
    str
        The verdict.

    Raises
    ------
    ValueError
        If CuPy does not import or work. The message is the doctor's report.
    """
    found = examine(Interpreter(), gpu=False, limit=120.0)
    if not found.imports or found.works is False:
        raise ValueError(as_text(found))
    return verdict(found)

"""The class of a check, which is a row of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from ..machine import Machine

if TYPE_CHECKING:
    from ..case import Case

Details = Callable[[Machine, Mapping[str, str]], Optional[Mapping[str, str]]]


@dataclass(frozen=True)
class Check:
    """A known failure.

    Attributes
    ----------
    name : str
        A short identifier.
    about : str
        The failure, in one line.
    cause : str
        The cause. Names in braces are replaced by values of `cupy_compat.doctor.words` or by parts
        of the message.
    cures : tuple of str
        What to do, the best cure first; with names in braces like `cause`.
    says : tuple of str
        Patterns of the messages, see `cupy_compat.doctor.reading`.
    example : str
        A typical line of the message, with a second line if ``needs`` requires it.
    source : str
        Where the failure was reported (repository#number), or how else it is known.
    unless : tuple of str
        Texts on the same line that rule the failure out.
    needs : tuple of str
        Texts, in lower case, one of which must be elsewhere in the output.
    raised_by : tuple of str
        The code that must raise the error, see `cupy_compat.doctor.origin`: CuPy's (``'cupy'``),
        other code (``'other'``), or a text without frames (``''``). Empty: any code.
    shared : bool
        Whether the check also applies to errors that other libraries raise.
    condition : callable, optional
        A condition on the machine.
    details : callable, optional
        Returns more values for the names in braces, or None if the check does not apply. Its
        arguments are the machine and the parts of the message.
    detects : callable, optional
        Whether an examined environment has the failure, independently of any message.
    breaks : bool
        Whether a failure found by ``detects`` prevents the import.
    after : tuple of str
        Checks and groups of checks of which this failure is a consequence; ``*`` means all.
    group : str
        A name of several checks, for ``after``.
    printed : bool
        Whether compilers or pip print the message long before the final traceback.
    remark : bool
        Whether it is only a remark, because CuPy may still work.
    """

    name: str
    about: str
    cause: str
    cures: tuple[str, ...]
    says: tuple[str, ...] = ()
    example: str = ""
    source: str = ""
    unless: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    raised_by: tuple[str, ...] = ()
    shared: bool = False
    condition: Callable[[Machine], bool] | None = None
    details: Details | None = None
    detects: Callable[[Case], bool] | None = None
    breaks: bool = False
    after: tuple[str, ...] = ()
    group: str = ""
    printed: bool = False
    remark: bool = False

    def follows(self, other: Check) -> bool:
        """Return whether this failure is a consequence of another one."""
        if other is self or (other.after == ("*",) and self.after == ("*",)):
            return False
        return bool({"*", other.name, other.group} & set(self.after))

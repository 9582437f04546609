"""What a check is: a row of the table."""

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
    """One thing that can be wrong.

    Attributes
    ----------
    name : str
        By which it is listed and reported.
    about : str
        One line: what is wrong.
    cause : str
        Why. Braces hold `cupy_compat.doctor.words`, or places of the wording.
    cures : tuple of str
        What to do, the best first.
    says : tuple of str
        What CuPy, Python, a compiler or pip say then: wordings of `cupy_compat.doctor.reading`.
    example : str
        A core line of such a failure, with a second line where ``needs`` asks for it.
    source : str
        Where people reported it: repository#number, or how else it is known.
    unless : tuple of str
        Texts on the same line that rule it out.
    needs : tuple of str
        Texts one of which must stand somewhere near, in small letters.
    raised : tuple of str
        In whose code it must be raised, see `cupy_compat.doctor.owner`: in CuPy's (``'cupy'``), in
        other code (``'other'``), or in a text without frames (an empty text). None given: anywhere.
    shared : bool
        Whether it counts in whatever library it is raised, since several meet there.
    given : callable, optional
        What must hold of the machine besides.
    details : callable, optional
        From the machine and the places of the wording to more words; None rules it out.
    shows : callable, optional
        Whether an examined case shows it without a word.
    breaks : bool
        Whether what it shows without a word makes the import fail.
    after : tuple of str
        The checks, and the groups of checks, whose consequence this is; ``*`` is all of them.
    group : str
        What ``after`` of other checks may call it.
    printed : bool
        Whether compilers and pip print it long before the traceback that ends the program.
    remark : bool
        Whether it is only a remark: CuPy may still work.
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
    raised: tuple[str, ...] = ()
    shared: bool = False
    given: Callable[[Machine], bool] | None = None
    details: Details | None = None
    shows: Callable[[Case], bool] | None = None
    breaks: bool = False
    after: tuple[str, ...] = ()
    group: str = ""
    printed: bool = False
    remark: bool = False

    def follows(self, other: Check) -> bool:
        """Whether this is a consequence of another one."""
        if other is self or (other.after == ("*",) and self.after == ("*",)):
            return False
        return bool({"*", other.name, other.group} & set(self.after))

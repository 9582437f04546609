"""What can be wrong with a CuPy: tables, to which one more check is a few lines."""

from __future__ import annotations

from ._check import Check
from .building import BUILDING
from .devices import DEVICES
from .importing import IMPORTING
from .installing import INSTALLING
from .kernels import KERNELS
from .libraries import LIBRARIES

__all__ = ["CHECKS", "Check"]

#: All checks; of several that match, the first one is taken for the root cause.
CHECKS = (*IMPORTING, *LIBRARIES, *KERNELS, *DEVICES, *BUILDING, *INSTALLING)

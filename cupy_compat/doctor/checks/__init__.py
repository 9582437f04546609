"""The table of checks: the known failures of CuPy, with their causes and cures."""

from __future__ import annotations

from ._check import Check
from .building import BUILDING
from .devices import DEVICES
from .importing import IMPORTING
from .installing import INSTALLING
from .kernels import KERNELS
from .libraries import LIBRARIES

__all__ = ["CHECKS", "Check"]

#: All checks. If several match, the first one is the root cause.
CHECKS = (*IMPORTING, *LIBRARIES, *KERNELS, *DEVICES, *BUILDING, *INSTALLING)

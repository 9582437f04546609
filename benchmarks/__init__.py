"""The airspeed-velocity suite: what the shim costs and how fast the sorts are, across commits.

The benchmarks are thin: what they measure lives in the package. What an environment or a machine
does not measure is left out by ``tools/history/selection.py``; where only trying can tell (a commit
from before there was a sort, a GPU without a driver), ``setup`` raises ``NotImplementedError`` with
the reason, which airspeed velocity shows as ``n/a``.
"""

"""The airspeed-velocity suite: what the shim costs and how fast the sorts are, across commits.

The benchmarks are thin: what they measure lives in the package. Where something cannot be measured
(no GPU, a commit from before there was a sort), ``setup`` raises ``NotImplementedError`` with the
reason, which airspeed velocity shows as ``n/a``.
"""

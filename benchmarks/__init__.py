"""The airspeed-velocity suite: the cost of the shim and the speed of the sorts, across commits.

Each class measures in ``setup_cache``, in turns within one process. Its ``track_`` methods report
the results: ratios to code that no commit changes, and plain times. What an environment or a
machine lacks is ``n/a``; ``asv run --show-stderr`` prints the reason.
"""

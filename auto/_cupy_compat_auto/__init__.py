"""Called by ``cupy_compat_auto.pth`` at each start of Python.

This is a package because uv removes the bytecode of a package, but not that of a single module.
"""


def start():
    """Arm ``cupy_compat`` by its policy; do nothing if it is no longer installed."""
    try:  # noqa: SIM105 - importing contextlib would cost more than all of this
        # The import arms. In a function it is never lazy.
        import cupy_compat  # noqa: F401
    except ImportError:
        pass

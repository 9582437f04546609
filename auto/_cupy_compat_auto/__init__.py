"""What ``cupy_compat_auto.pth`` calls at each start of Python.

A package, because uv removes a package's bytecode with it, but leaves that of a single module.
"""


def start():
    """Arm ``cupy_compat`` by its policy; without a word where it is not installed any more."""
    try:  # noqa: SIM105 - contextlib would cost more than all of this
        # The import does it, and nothing more. Within a function no Python puts an import off.
        import cupy_compat  # noqa: F401
    except ImportError:
        pass

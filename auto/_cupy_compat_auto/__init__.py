"""What ``cupy_compat_auto.pth`` calls at each start of Python.

A package, because uv removes a package's bytecode with it, but leaves that of a single module.
"""


def start():
    """Arm ``cupy_compat`` by its policy; without a word where it is not installed any more."""
    try:
        # The name, because what an uninstallation leaves of a package may import as an empty one.
        from cupy_compat import install
    except ImportError:
        return
    # Called by name and not left to the import, which a Python with lazy imports may put off.
    install()

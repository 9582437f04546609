"""Arms ``cupy_compat`` in the program of ``cupy-compat run`` and in its children, and steps aside.

``run`` puts this folder first on ``PYTHONPATH``, where every Python below it finds this file: old
ones and such as have no ``cupy_compat`` among them. So it is written for all of them.
"""


# In functions, because there no import is put off by a Python with lazy imports.
def _arm():  # type: () -> None
    import sys

    if sys.version_info < (3, 11):  # noqa: UP036
        return
    try:
        from cupy_compat import install
    except ImportError:
        # Another environment's Python, which is none of ours.
        return
    install(force=True)


def _step_aside():  # type: () -> None
    import os
    import sys

    # From here on nothing but PYTHONPATH shows that this folder was searched, and the import ends
    # as it would have without this file: in another sitecustomize, its error, or there is none.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if folder != here]
    sys.modules.pop("sitecustomize", None)
    __import__("sitecustomize")


_arm()
_step_aside()

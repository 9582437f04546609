"""Repair the installed CuPy itself: recompile its broken module, and replace it."""

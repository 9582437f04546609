"""Repair the installed CuPy itself: compile its one broken module again, and put it in place."""

"""What the command writes to standard error while it works: lines, and a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


class Reporter:
    """Standard error, unless it is to be `quiet`."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def say(self, text: str) -> None:
        """Write a line."""
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def bar(self, what: str, steps: int) -> Iterator[Callable[[], None]]:
        """Show a bar on a terminal while the block runs, and give it a function to advance it."""
        console = Console(stderr=True)
        # Redrawn between the timed calls only: a thread that redraws would take time from them.
        with Progress(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=self._quiet or not console.is_terminal,
        ) as progress:
            task = progress.add_task(what, total=steps)

            def step() -> None:
                progress.advance(task)
                progress.refresh()

            yield step

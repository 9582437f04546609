"""Messages and a progress bar on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


class Reporter:
    """Reports progress on standard error, unless `quiet`."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def say(self, text: str) -> None:
        """Write a line."""
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def bar(self, what: str, steps: int) -> Iterator[Callable[[], None]]:
        """Show a bar while the block runs, if on a terminal. Yield a function that advances it."""
        console = Console(stderr=True)
        # Redraw only between the timed calls: a refresh thread would slow them down.
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

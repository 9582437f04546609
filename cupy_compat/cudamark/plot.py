"""Plot time against threads, with reference lines."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from cupy_compat.cudamark.record import Run, readable_time

_STYLES = {"cpu": ("C0", "o", "threaded_sort (CPU)"), "gpu": ("C2", "s", "gpu_sort (host to host)")}
_DASHES = ("--", ":", "-.")


def draw(
    runs: Iterable[Run], lines: Mapping[str, float], title: str, subtitle: str, format_: str
) -> bytes:
    """Return an image of median times against thread counts, on logarithmic axes.

    `runs` have thread counts, and may be of both devices. `lines` are the times, in seconds, of
    labelled horizontal lines. `format_` is ``png`` or ``svg``.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    # Plot against the threads used, once each: asking for more measures the same again.
    points: dict[str, dict[int, float]] = {device: {} for device in _STYLES}
    for run in sorted(runs, key=lambda run: run.threads or 1):
        points[run.device].setdefault(run.used or run.threads or 1, run.median)
    for device, (colour, marker, label) in _STYLES.items():
        if points[device]:
            axes.plot(
                *zip(*points[device].items(), strict=True), color=colour, marker=marker, label=label
            )
    for index, (label, seconds) in enumerate(lines.items()):
        dashes = _DASHES[index % len(_DASHES)]
        axes.axhline(
            seconds, color="0.35", linestyle=dashes, label=f"{label}: {readable_time(seconds)}"
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sorted({threads for line in points.values() for threads in line}))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: readable_time(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="threads", ylabel="time (median)")
    figure.suptitle(title)
    axes.set_title(subtitle, fontsize="x-small", color="0.35")
    axes.grid(which="both", alpha=0.25)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    file = io.BytesIO()
    figure.savefig(file, format=format_, dpi=150)
    return file.getvalue()

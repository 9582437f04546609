"""Write docs/history.md and its pictures from the results: ``nox -s bench -- page``."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure as Canvas

from tools.history.compare import compare, scatter, table
from tools.history.results import ROOT, Figure, Key, Results, load

#: The color of text and axes; each picture has its reader's color scheme decide in its place.
INK = "#010203"
SCHEMES = (
    "<style>:root{color:#1f2328}@media(prefers-color-scheme:dark){:root{color:#d8dee4}}</style>"
)
INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
COLORS = ("#2f81f7", "#d97706", "#2da44e", "#a855f7")
GRAY = "#8b949e"

SHIM = "import_time.Shim.track_{}"
CALL = "memoize.Call.track_{}"
CPU = "cpu_sort.ThreadedSort.track_ratio"
GPU = "gpu_sort.GpuSort.track_threads"
WAYS = "gpu_sort.GpuSort.track_ways"
THREADS = (1, 2, 4, 8, 16)
DTYPES = ("int32", "float64")
USUAL = "cp.asnumpy(cp.sort(cp.array(a)))"

#: A machine, and the labels of an environment there.
Place = tuple[str, tuple[str, ...]]


class Page:
    """The page's sections. Each begins with its answer, and shows it in a picture or a table."""

    def __init__(self, results: Results, docs: Path) -> None:
        self.results, self.docs = results, docs
        self.newest = results.commits[-1]

    def write(self) -> None:
        """Write the page and its pictures."""
        names = ("shim", "repair", "cpu", "gpu", "ways", "changes", "provenance")
        template = string.Template(Path(__file__).with_name("page.md").read_text())
        sections = {}
        for name in names:
            try:
                sections[name] = getattr(self, name)()
            except LookupError as error:
                sections[name] = f"*Not measured yet: {error}.*"
        (self.docs / "history.md").write_text(template.substitute(sections))

    def shim(self) -> str:
        """Return what the shim costs."""
        ratio, places = SHIM.format("ratio"), self.pythons(SHIM.format("ratio"), "published")
        lines = [(f"Python {place[1][0]}", place, ratio, ("armed",)) for place in places]
        yardstick = "graphlib, a module of Python"
        lines.append((yardstick, places[0], SHIM.format("yardstick"), ("armed",)))
        self.over_commits("shim", "times an empty package", lines, 0)
        armed, off = (self.value(places[0], ratio, way) for way in ("armed", "off"))
        ms = 1e3 * self.value(places[0], SHIM.format("time"), "armed")
        title = f"Importing cupy_compat takes {ms:.2g} ms, {armed:.1f} times an empty package"
        return self.section(title, "shim", f"Switched off, it takes {off:.1f} times.", places)

    def repair(self) -> str:
        """Return what a repair costs."""
        name, places = CALL.format("ratio"), self.pythons(CALL.format("ratio"), "repaired")
        lines = [(f"Python {place[1][0]}, repaired", place, name, ()) for place in places]
        lines.append(("functools.partial", places[0], CALL.format("yardstick"), ()))
        self.over_commits("repair", "times a call of the bare function", lines, 0.95)
        ratio = self.value(places[0], name)
        ns = 1e9 * self.value(places[0], CALL.format("time")) * (1 - 1 / ratio)
        title = f"A repair adds {ns:.0f} ns to a memoized call, {ratio - 1:.0%} more"
        return self.section(title, "repair", "The call finds its result in the cache.", places)

    def cpu(self) -> str:
        """Return how threads help the sort on the CPU."""
        places = self.machines(CPU)
        value, threads, dtype = self.against_threads("cpu", "times as fast as np.sort", CPU, places)
        title = f"{threads} threads sort {dtype} {value:.1f} times as fast as np.sort"
        return self.section(title, "cpu", "`threaded_sort`, 5,000,000 uniform keys.", places)

    def gpu(self) -> str:
        """Return how threads help the sort through the GPU."""
        places, y = self.machines(GPU), "times as fast as the usual script"
        value, threads, dtype = self.against_threads("gpu", y, GPU, places)
        one = self.by_threads(places[0], GPU, dtype)[1].value
        title = f"With {threads} threads gpu_sort is {value:.1f} times as fast as the usual script"
        text = f"With one it is {one:.1f} times as fast. The usual script is `{USUAL}`."
        return self.section(title, "gpu", f"50,000,000 uniform keys. {text}", places)

    def ways(self) -> str:
        """Return how the GPU compares with the CPU."""
        places, ways = self.machines(WAYS)[:1], ("threaded_sort", USUAL, "gpu_sort")

        def draw(axes: Any) -> None:
            for n, dtype in enumerate(DTYPES):
                at = [k + 0.4 * n - 0.2 for k in range(len(ways))]
                figures = [self.figure(places[0], WAYS, way, dtype) for way in ways]
                axes.bar(at, [f.value for f in figures], 0.36, color=COLORS[n], label=dtype)
                for x, figure in zip(at, figures, strict=True):
                    axes.plot([x, x], [min(figure.samples), max(figure.samples)], color=INK)
            axes.set_xticks(range(3), ["threaded_sort", "the usual script", "gpu_sort"])

        self.picture("ways", "", "times as fast as np.sort", draw)
        cpu, _, gpu = (self.value(places[0], WAYS, way, "int32") for way in ways)
        title = f"gpu_sort is {gpu:.0f} times as fast as np.sort, threaded_sort {cpu:.1f} times"
        text = f"50,000,000 uniform keys, in the title int32. The usual script is `{USUAL}`."
        return self.section(title, "ways", text, places)

    def changes(self) -> str:
        """Return what the newest commit changed, as far as it is beyond noise."""
        before = self.results.commits[-2]
        since = f"Since {before[:7]} of {self.results.dates[before]:%Y-%m-%d}"
        comparison = compare(self.results, before, self.newest)
        count = len(comparison.changes)
        title = f"{since}, {count or 'none'} of {comparison.compared} ratios changed beyond noise"
        rows = [("ratio", "before", "after", "change"), ("---",) * 4]
        for subject, before, after, moved, where in table(self.results, comparison.changes):
            rows.append((f"{subject} ({where})", before, after, moved))
        moved = scatter(self.results).items()
        noise = ", ".join(f"{suite} on {place} {by - 1:.1%}" for (place, suite), by in moved)
        text = "\n".join(f"| {' | '.join(row)} |" for row in rows) if count else ""
        return f"## {title}\n\n{text}\n\nThe yardsticks moved by as much as: {noise}."

    def provenance(self) -> str:
        """Return what was measured: machines, environments and commits."""
        lines = []
        for name, about in self.results.machines.items():
            keys = [(c, k) for c, found in self.results.figures.items() for k in found]
            here = [(commit, key.labels[0]) for commit, key in keys if key.machine == name]
            commits = ", ".join(c[:7] for c in self.results.commits if c in dict(here))
            pythons = ", ".join(sorted({python for _, python in here}))
            machine = f"{about['cpu']}, {about['num_cpu']} CPUs"
            lines.append(f"- **{name}** ({machine}): Python {pythons}; commits {commits}.")
        return "\n".join(lines)

    def figure(self, place: Place, name: str, *words: str, commit: str = "") -> Figure | None:
        """Return a figure, of the newest commit if none is named."""
        parameters = tuple(word if word.isdecimal() else repr(word) for word in words)
        return self.results.figures[commit or self.newest].get(Key(*place, name, parameters))

    def value(self, place: Place, name: str, *words: str) -> float:
        """Return the value of a figure."""
        figure = self.figure(place, name, *words)
        return figure.value if figure else math.nan

    def places(self, name: str, build: str = "published") -> list[Place]:
        """Return where the newest commit was measured; the newest Python and CuPy come first."""
        figures = self.results.figures[self.newest].items()
        found = {(k.machine, k.labels) for k, f in figures if k.benchmark == name and f.samples}
        if not found:
            raise LookupError(f"{name} of {self.newest[:7]}")
        versions = {p: [int(n) for n in re.findall(r"\d+", " ".join(p[1][:2]))] for p in found}
        return sorted((p for p in found if build in p[1][2]), key=versions.__getitem__)[::-1]

    def pythons(self, name: str, build: str) -> list[Place]:
        """Return a place for each Python of the machine that has most of them."""
        machines: dict[str, dict[str, Place]] = {}
        for place in self.places(name, build):
            machines.setdefault(place[0], {}).setdefault(place[1][0], place)
        return list(max(machines.values(), key=len).values())

    def machines(self, name: str) -> list[Place]:
        """Return a place for each machine; the one with most CPUs comes first."""
        newest = {place[0]: place for place in self.places(name)[::-1]}
        cpus = {name: int(about["num_cpu"]) for name, about in self.results.machines.items()}
        return sorted(newest.values(), key=lambda place: -cpus[place[0]])

    def by_threads(self, where: Place, name: str, dtype: str, at: str = "") -> dict[int, Figure]:
        """Return the figures of one dtype by the number of threads."""
        found = {n: self.figure(where, name, str(n), dtype, commit=at) for n in THREADS}
        return {n: figure for n, figure in found.items() if figure}

    def section(self, title: str, name: str, text: str, places: list[Place]) -> str:
        """Return a heading, the picture, a sentence, and where the figures were measured."""
        machines = dict.fromkeys(f"{p[0]}, {self.results.measured[p[0]]:%Y-%m-%d}" for p in places)
        pythons = ", ".join(dict.fromkeys(place[1][0] for place in places))
        cupys = ", ".join(dict.fromkeys(" ".join(place[1][1:3]) for place in places))
        where = f"{'; '.join(machines)}; Python {pythons}; CuPy {cupys}."
        return f"## {title}\n\n![{title}](history-{name}.svg)\n\n{text} Measured on {where}"

    def picture(
        self, name: str, x: str, y: str, draw: Callable[[Any], None], bottom: float = 0
    ) -> None:
        """Draw a picture into the documentation."""
        settings = {"font.size": 10, "svg.hashsalt": name, "legend.fontsize": 9}
        with matplotlib.rc_context(settings | dict.fromkeys(INKED, INK)):
            canvas = Canvas(figsize=(5.2, 3.2), layout="constrained")
            axes = canvas.subplots()
            draw(axes)
            axes.set(xlabel=x, ylabel=y)
            axes.set_ylim(bottom=bottom)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color=GRAY, alpha=0.3, linewidth=0.6)
            axes.legend(frameon=False)
            path = self.docs / f"history-{name}.svg"
            canvas.savefig(path, transparent=True, metadata={"Date": None})
        text = path.read_text().replace(INK, "currentColor")
        path.write_text(re.sub(r"<svg[^>]*>", lambda tag: tag[0] + SCHEMES, text, count=1))

    def over_commits(self, picture: str, y: str, lines: list[Any], bottom: float) -> None:
        """Draw lines across the commits: label, place, benchmark, parameters. The last is gray."""
        commits = self.results.commits

        def draw(axes: Any) -> None:
            colors = [*COLORS[: len(lines) - 1], GRAY]
            for (label, place, name, words), color in zip(lines, colors, strict=True):
                found = [self.figure(place, name, *words, commit=c) for c in commits]
                band(axes, {n: f for n, f in enumerate(found) if f}, label, color)
            days = [f"{c[:7]}\n{self.results.dates[c]:%d %b}" for c in commits]
            axes.set_xticks(range(len(commits)), days, fontsize=8)

        self.picture(picture, "commit", y, draw, bottom)

    def against_threads(
        self, picture: str, y: str, name: str, places: list[Place]
    ) -> tuple[float, int, str]:
        """Draw ratios against threads, and return the largest: value, threads and dtype."""
        commits = self.results.commits
        first = next(c for c in commits if self.by_threads(places[0], name, "int32", c))
        curves = {(p, dtype): self.by_threads(p, name, dtype) for p in places for dtype in DTYPES}

        def draw(axes: Any) -> None:
            for ((place, dtype), curve), color in zip(curves.items(), COLORS, strict=False):
                band(axes, curve, f"{dtype}, {place[0]}", color)
            old = self.by_threads(places[0], name, "int32", first)
            label = f"int32, first commit ({first[:7]})"
            axes.plot(list(old), [f.value for f in old.values()], "--", color=GRAY, label=label)
            axes.axhline(1, color=GRAY, linewidth=1)
            axes.set_xscale("log", base=2)
            axes.set_xticks(THREADS, THREADS)

        self.picture(picture, "threads", y, draw)
        return max((f.value, n, d) for d in DTYPES for n, f in curves[places[0], d].items())


def band(axes: Any, figures: dict[int, Figure], label: str, color: str) -> None:
    """Draw medians as a line, and the range of the samples around it."""
    xs, samples = list(figures), [figure.samples for figure in figures.values()]
    axes.plot(xs, [f.value for f in figures.values()], "o-", ms=4, color=color, label=label)
    low, high = ([edge(each) for each in samples] for edge in (min, max))
    axes.fill_between(xs, low, high, color=color, alpha=0.25, linewidth=0)


if __name__ == "__main__":
    Page(load(), ROOT / "docs").write()

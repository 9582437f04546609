"""Write docs/history.md and its pictures from the results: ``nox -s bench -- page``."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
from matplotlib.figure import Figure as Canvas

from tools.history.compare import compare, scatter
from tools.history.results import ROOT, Figure, Key, Results, load

#: The color of text and axes; each picture has its reader's color scheme decide in its place.
INK = "#010203"
SCHEMES = (
    "<style>:root{color:#1f2328}@media(prefers-color-scheme:dark){:root{color:#d8dee4}}</style>"
)
INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
GRAY = "#8b949e"
COLORS = ("#2f81f7", "#d97706", "#2da44e", "#a855f7", "#e5534b", GRAY)

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
Draw = Callable[[Any], None]


class Page:
    """The page's sections. Each begins with its answer, and shows it in a picture or a table."""

    def __init__(self, results: Results, docs: Path) -> None:
        self.results, self.docs = results, docs
        self.newest = results.commits[-1]

    def write(self) -> None:
        """Write the page and its pictures."""
        template = string.Template(Path(__file__).with_name("page.md").read_text())
        sections = {}
        for name in ("shim", "repair", "cpu", "gpu", "ways", "changes", "provenance"):
            section = getattr(self, name)
            try:
                sections[name] = section()
            except LookupError as error:
                question = section.__doc__.removeprefix("Return ").rstrip(".")
                sections[name] = f"## {question[0].upper()}{question[1:]}\n\nNot measured: {error}."
        (self.docs / "history.md").write_text(template.substitute(sections))

    def shim(self) -> str:
        """Return what the shim costs."""
        ratio, places = SHIM.format("ratio"), self.pythons(SHIM.format("ratio"), "published")
        lines = [(f"Python {place[1][0]}", place, ratio, ("armed",)) for place in places]
        lines.append(("graphlib, of Python", places[0], SHIM.format("yardstick"), ("armed",)))
        self.over_commits("shim", "times an empty package", lines, 0)
        armed, off = (self.value(places[0], ratio, way) for way in ("armed", "off"))
        ms = 1e3 * self.value(places[0], SHIM.format("time"), "armed")
        title = f"Importing cupy_compat takes {ms:.2g} ms, {armed:.1f} times an empty package"
        return self.section(title, "shim", f"With the shim off, it is {off:.1f} times.", places)

    def repair(self) -> str:
        """Return what a repair costs."""
        name, places = CALL.format("ratio"), self.pythons(CALL.format("ratio"), "repaired")
        lines = [(f"Python {place[1][0]}", place, name, ()) for place in places]
        lines.append(("functools.partial", places[0], CALL.format("yardstick"), ()))
        self.over_commits("repair", "times the bare function", lines, 0.95)
        ratio = median(self.value(place, name) for place in places)
        ns = 1e9 * median(self.value(p, CALL.format("time")) for p in places) * (1 - 1 / ratio)
        title = f"A repair adds {ns:.0f} ns to a memoized call, {ratio - 1:.0%} more"
        text = "Medians of all Pythons; the call finds its result in the cache."
        return self.section(title, "repair", text, places)

    def cpu(self) -> str:
        """Return how threads help the sort on the CPU."""
        place, y = self.largest(CPU), "times as fast as np.sort"
        value, threads, dtype, lines = self.by_threads(place, CPU)
        words = (str(threads), dtype)
        lines.append(("np.sort of parts", place, CPU.replace("ratio", "yardstick"), words))
        self.over_commits("cpu", f"{y}, {dtype}", lines, 0)
        title = f"{threads} threads sort {dtype} {value:.1f} {y}"
        text = "5,000,000 uniform keys. The gray line sorts parts with NumPy, and merges none."
        return self.section(title, "cpu", text, [place])

    def gpu(self) -> str:
        """Return how threads help the sort through the GPU."""
        place, y = self.largest(GPU), "times as fast as the usual script"
        value, threads, dtype, lines = self.by_threads(place, GPU)
        self.over_commits("gpu", f"{y}, {dtype}", lines, 0)
        title = f"With {threads} threads gpu_sort is {value:.1f} {y}"
        text = f"50,000,000 uniform keys. The usual script is `{USUAL}`."
        return self.section(title, "gpu", text, [place])

    def ways(self) -> str:
        """Return how the GPU compares with the CPU."""
        place, ways = self.largest(WAYS), ("threaded_sort", USUAL, "gpu_sort")

        def draw(axes: Any) -> None:
            for n, dtype in enumerate(DTYPES):
                at = [k + 0.4 * n - 0.2 for k in range(len(ways))]
                samples = [self.figure(place, WAYS, way, dtype).samples for way in ways]
                axes.bar(at, list(map(median, samples)), 0.36, color=COLORS[n], label=dtype)
                axes.vlines(at, list(map(min, samples)), list(map(max, samples)), color=INK)
            axes.set_xticks(range(3), ["threaded_sort", "the usual script", "gpu_sort"])

        self.picture("ways", "", "times as fast as np.sort", draw)
        cpu, _, gpu = (self.value(place, WAYS, way, "int32") for way in ways)
        title = f"gpu_sort is {gpu:.0f} times as fast as np.sort, threaded_sort {cpu:.1f} times"
        text = f"50,000,000 uniform keys, in the title int32. The usual script is `{USUAL}`."
        return self.section(title, "ways", text, [place])

    def changes(self) -> str:
        """Return what each commit changed, as far as it is beyond noise."""
        rows = [("commit", "change", "ratio", "machine"), ("---",) * 4]
        for before, after in pairwise(self.results.commits):
            comparison = compare(self.results, before, after)
            for ratio, count in Counter(map(self.ratio, comparison.compared)).items():
                moved = [c.factor - 1 for c in comparison.changes if self.ratio(c.key) == ratio]
                if moved:
                    ends = dict.fromkeys(f"{end(moved):+.0%}" for end in (min, max))
                    by = "fails" if any(map(math.isnan, moved)) else " to ".join(ends)
                    rows.append((after[:7], f"{by} ({len(moved)} of {count})", *ratio))
        title = f"Commit {after[:7]} changed {len(comparison.changes) or 'no'} ratios beyond noise"
        lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        noise = [factor - 1 for factor in scatter(self.results).values()]
        text = "Each commit is compared with the one measured before it. In parentheses: how many "
        text += f"ratios changed. Yardsticks moved by {min(noise):.0%} to {max(noise):.0%}."
        return f"## {title}\n\n{text}\n\n{lines}"

    def ratio(self, key: Key) -> tuple[str, str]:
        """Return what a ratio is called, without its parameters, and where it was measured."""
        unit = self.results.benchmarks[key.benchmark]["unit"]
        return f"{self.results.title(key)}, {unit}", key.machine

    def provenance(self) -> str:
        """Return what was measured: machines, environments and commits."""
        lines = []
        for name, about in self.results.machines.items():
            keys = [(c, k) for c, found in self.results.figures.items() for k in found]
            pythons = ", ".join(sorted({k.labels[0] for _, k in keys if k.machine == name}))
            here = {c for c, k in keys if k.machine == name}
            commits = ", ".join(c[:7] for c in self.results.commits if c in here)
            cpu = f"{about['cpu']}, {about['num_cpu']} CPUs"
            lines.append(f"- **{name}** ({cpu}): Python {pythons}; commits {commits}.")
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

    def largest(self, name: str) -> Place:
        """Return the place with the most CPUs."""
        cpus = {name: int(about["num_cpu"]) for name, about in self.results.machines.items()}
        return max(self.places(name), key=lambda place: cpus[place[0]])

    def by_threads(self, place: Place, name: str) -> tuple[float, int, str, list[Any]]:
        """Return the best value, its threads and dtype, and that dtype's lines by threads."""
        counts = [n for n in THREADS if self.figure(place, name, str(n), DTYPES[0])]
        values = [(self.value(place, name, str(n), d), n, d) for n in counts for d in DTYPES]
        value, threads, dtype = max(values)
        lines = [(f"{n} thread{'s' * (n > 1)}", place, name, (str(n), dtype)) for n in counts]
        return value, threads, dtype, lines

    def section(self, title: str, name: str, text: str, places: list[Place]) -> str:
        """Return a heading, the picture, a sentence, and where the figures were measured."""
        machines = dict.fromkeys(f"{p[0]}, {self.results.measured[p[0]]:%Y-%m-%d}" for p in places)
        pythons = ", ".join(dict.fromkeys(place[1][0] for place in places))
        cupys = ", ".join(dict.fromkeys(" ".join(place[1][1:3]) for place in places))
        where = f"{'; '.join(machines)}; Python {pythons}; CuPy {cupys}."
        return f"## {title}\n\n![{title}](history-{name}.svg)\n\n{text} Measured on {where}"

    def picture(self, name: str, x: str, y: str, draw: Draw, bottom: float = 0) -> None:
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
            canvas.legend(loc="outside upper center", ncols=3, frameon=False)
            path = self.docs / f"history-{name}.svg"
            canvas.savefig(path, transparent=True, metadata={"Date": None})
        text = path.read_text().replace(INK, "currentColor")
        path.write_text(re.sub(r"<svg[^>]*>", lambda tag: tag[0] + SCHEMES, text, count=1))

    def over_commits(self, picture: str, y: str, lines: list[Any], bottom: float) -> None:
        """Draw lines across the commits: label, place, benchmark, parameters."""
        commits = self.results.commits

        def draw(axes: Any) -> None:
            for (label, place, name, words), color in zip(lines, COLORS, strict=False):
                found = [self.figure(place, name, *words, commit=c) for c in commits]
                color = GRAY if name.endswith("yardstick") else color
                band(axes, {n: f for n, f in enumerate(found) if f}, label, color)
            days = [f"{c[:7]}\n{self.results.dates[c]:%d %b}" for c in commits]
            axes.set_xticks(range(len(commits)), days, fontsize=8)

        self.picture(picture, "commit", y, draw, bottom)


def band(axes: Any, figures: dict[int, Figure], label: str, color: str) -> None:
    """Draw medians as a line, and the range of the samples around it."""
    xs, samples = list(figures), [figure.samples for figure in figures.values()]
    axes.plot(xs, [f.value for f in figures.values()], "o-", ms=4, color=color, label=label)
    low, high = ([edge(each) for each in samples] for edge in (min, max))
    axes.fill_between(xs, low, high, color=color, alpha=0.25, linewidth=0)


if __name__ == "__main__":
    Page(load(), ROOT / "docs").write()

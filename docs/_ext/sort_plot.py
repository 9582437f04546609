"""The directive ``sort-plot``: the times of docs/_data/compare-gpu.json as bars."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib
from docutils import nodes
from docutils.nodes import Node
from matplotlib.figure import Figure
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import figures

SORTS = {
    "np.sort": "np.sort",
    "cp.asnumpy(cp.sort(cp.array(a)))": "the usual script",
    "threaded_sort": "threaded_sort",
    "gpu_sort": "gpu_sort",
    "gpu_sort, page-locked": "gpu_sort, page-locked",
}


def draw() -> str:
    """Return the plot as SVG, whose text site.css colours."""
    documents = figures.read("compare-gpu")
    with matplotlib.rc_context({"svg.fonttype": "none", "font.size": 11}):
        figure = Figure(figsize=(6, 3), layout="constrained")
        axes = figure.subplots()
        dtypes = figures.dtypes(documents)
        for place, dtype in enumerate(("int32", "float64")):
            seconds = [figures.times(documents, name)[dtypes.index(dtype)] for name in SORTS]
            bars = axes.barh(
                [row + 0.4 * place for row in range(len(SORTS))],
                [1e3 * (one or 0) for one in seconds],
                height=0.38,
                label=dtype,
                color=("#1f9ba6", "#8a6fd1")[place],
            )
            axes.bar_label(bars, [figures.milliseconds(one) for one in seconds], padding=4)
        axes.set_yticks([row + 0.2 for row in range(len(SORTS))], list(SORTS.values()))
        axes.invert_yaxis()
        axes.set_xticks([])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.legend(frameon=False, loc="lower right")
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True)
    svg = file.getvalue()
    return svg[svg.index("<svg") :]


class SortPlot(SphinxDirective):
    """The plot and its caption, which says in words what the bars show."""

    # GitHub shows the content instead.
    has_content = True

    def run(self) -> list[Node]:
        """Return them."""
        size = figures.read("compare-gpu")[0]["size"]
        caption = f"Milliseconds to sort {size:,} keys. Shorter is faster."
        figure = nodes.figure("", nodes.raw("", draw(), format="html"))
        figure += nodes.caption("", caption)
        return [figure]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("sort-plot", SortPlot)
    return {"parallel_read_safe": True}

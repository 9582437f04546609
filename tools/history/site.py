"""Make the pages of all results: asv's, as people need them, and a first page of our own.

Usage::

    nox -s site                 # makes .asv/html; open .asv/html/index.html
    nox -s site -- preview      # and serves it

What asv publishes is changed in these points: the selectors show what was chosen and not what
follows from the machine; the newest comes first, so that every view opens on something; what a
machine does not have is left out; scripts and data lie beside the pages, which need no network.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import shutil
import string
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tools.history import compare
from tools.history.results import LABELS, load_benchmarks, measured_commits, result_files

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = Path(__file__).parent / "page"

#: What asv's page loads from the network, by the file's name there: where npm puts it.
SCRIPTS = {
    "jquery-3.3.1.min.js": "jquery/dist/jquery.min.js",
    "jquery.flot.min.js": "flot/jquery.flot.js",
    "jquery.flot.time.min.js": "flot/jquery.flot.time.js",
    "jquery.flot.selection.min.js": "flot/jquery.flot.selection.js",
    "jquery.flot.categories.min.js": "flot/jquery.flot.categories.js",
    "jquery.flot.orderBars.js": "flot-orderbars/js/jquery.flot.orderBars.js",
    "stupidtable.min.js": "stupid-table-plugin/stupidtable.min.js",
    "md5.min.js": "blueimp-md5/js/md5.min.js",
    "bootstrap.min.js": "bootstrap/dist/js/bootstrap.min.js",
    "bootstrap.min.css": "bootstrap/dist/css/bootstrap.min.css",
}


#: Machines whose results were taken in one round: a busy minute there looks like a regression, so
#: none is reported from them. They are to be taken off this list when they are measured in full.
ONE_ROUND = frozenset({"h200-16-cores"})

#: What is changed in asv's own pages: file, what is there once, what takes its place.
CHANGES = (
    # It opens with every machine and environment at once, which nobody can read.
    (
        "graphdisplay.js",
        "                state[param] = values;\n",
        "                var opened = index.defaults[current_benchmark] || {};\n"
        "                state[param] = (opened[param] || values).slice();\n",
    ),
    # It leaves what is chosen in full out of the address: no longer what it opens with.
    (
        "graphdisplay.js",
        "if (state[param].length != values.length || param == 'branch') {",
        "if (state[param].length) {",
    ),
    # It gives the legend a line for each series, also for one without a figure.
    (
        "graphdisplay.js",
        "                    orig_graphs.push({\n",
        "                    if (!series.some(function (point) { return point[1] !== null; })) {\n"
        "                        return;\n"
        "                    }\n"
        "                    orig_graphs.push({\n",
    ),
    (
        "graphdisplay.js",
        '$("#title").text(bm_name);',
        '$("#title").text($.asv.main_json.benchmarks[bm_name].pretty_name || bm_name);',
    ),
    # It takes the difference of two names where the axis has names, and then draws no bar at all.
    (
        "vendor/jquery.flot.orderBars.js",
        "var AxeSize = minMaxValues[1] - minMaxValues[0];",
        "var AxeSize = minMaxValues[1] - minMaxValues[0] || 0;",
    ),
    # It offers the regressions as a feed, too, which has those of all machines.
    (
        "regressions.js",
        "main_div.append(feed_div);",
        "",
    ),
    (
        "index.html",
        '    <link rel="alternate" type="application/atom+xml" title="Regressions" '
        'href="regressions.xml"/>\n',
        "",
    ),
    (
        "index.html",
        '<li id="nav-li-" class="active">',
        '<li><a href="../index.html">Start</a></li>\n\t<li id="nav-li-" class="active">',
    ),
)


class CannotPublish(Exception):
    """The pages cannot be made; the message says why."""


@dataclass(frozen=True)
class View:
    """A graph that matters: what to show, and what is to be seen there."""

    title: str
    sentence: str
    benchmark: str
    #: What runs along the axis: a parameter, or nothing for the commits.
    axis: str
    #: Chosen parameters, as Python writes them, and labels.
    chosen: dict[str, str | list[str]]
    scale: str = ""


NEWEST: dict[str, str | list[str]] = {"cupy": "14.2.0", "build": "published"}
BOTH: dict[str, str | list[str]] = {"p-dtype": ["'int32'", "'float64'"]}
VIEWS = (
    View(
        "A sort on the CPU, by threads",
        "Lower is better. threaded_sort against the number of threads: the curves fall as long as "
        "another thread helps, and then stay flat.",
        "cpu_sort.ThreadedSort.time_sort",
        "threads",
        {"p-size": "10000000", **BOTH, "python": "3.13", **NEWEST},
    ),
    View(
        "A sort through the GPU, by threads",
        "Lower is better. gpu_sort from ordinary memory and back: its threads copy keys to the "
        "bus, so that the first few of them help, though a GPU sorts.",
        "gpu_sort.StagedByThreads.time_gpu_sort",
        "threads",
        {"p-size": "50000000", **BOTH, "python": "3.13", **NEWEST},
    ),
    View(
        "GPU against CPU",
        "Four ways to sort the same array of the host. The usual script through the GPU is the "
        "third bar, gpu_sort the last: copying well is what the GPU needs.",
        "sort_ways.HostToHost.time_sort",
        "way",
        {"p-size": "50000000", **BOTH, "python": "3.13", **NEWEST},
    ),
    View(
        "What the imports take",
        "A logarithmic scale. The shim alone, off and armed, takes less than a thousandth of a "
        "second; a CuPy that it repairs takes what CuPy takes, a hundred times as long.",
        "import_time.Import.timeraw_import",
        "",
        {"cupy": "13.4.1", "build": "Cython 3.1.1, repaired", "python": "3.13"},
        scale="log",
    ),
    View(
        "A memoized call, published against repaired",
        "The same CuPy 13.4.1, as it is published and repaired: the distance of the two curves is "
        "all that the repair costs a call.",
        "memoize.Memoize.time_hit",
        "",
        {"cupy": "13.4.1", "build": ["published", "Cython 3.1.1, repaired"], "python": "3.13"},
    ),
)


def publish(results: Path, into: Path) -> None:
    """Make the pages of all results below ``results``.

    Raises
    ------
    CannotPublish
        If there are no results, npm is missing, or asv's own page is not as it was.
    """
    if not measured_commits(results):
        raise CannotPublish(f"there are no results in {results}")
    if into.exists():
        shutil.rmtree(into)
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "results"
        simplify(results, plain)
        _asv_publish(plain, into / "asv")
    carry_scripts(into / "asv", _fetch_scripts())
    tidy(into / "asv")
    carry_data(into / "asv")
    first_page(results, into)


def simplify(results: Path, into: Path) -> None:
    """Copy results with the machine's name and the labels as their only parameters."""
    shutil.copytree(results, into)
    for path in result_files(into):
        content = json.loads(path.read_text())
        kept = ("machine", *LABELS)
        content["params"] = {name: content["params"][name] for name in kept}
        content["env_vars"] = {}
        path.write_text(json.dumps(content))


def _asv_publish(results: Path, into: Path) -> None:
    from asv.commands.publish import Publish
    from asv.config import Config

    configuration = Config.load(str(ROOT / "asv.conf.json"))
    configuration.repo = str(ROOT)
    configuration.results_dir = str(results)
    configuration.html_dir = str(into)
    Publish.run(configuration, pull=False)


def tidy(pages: Path) -> None:
    """Put the newest first, and leave out what was not measured, or not enough to judge."""
    index_file = pages / "index.json"
    index = json.loads(index_file.read_text())
    for label, values in index["params"].items():
        if label == "machine":
            # The largest has the most to show: threads, and a GPU where there is one.
            values.sort(key=lambda name: -int(index["machines"][name]["num_cpu"]))
        elif label != "branch":
            values.sort(key=_version, reverse=True)
    index["defaults"] = {name: _default(pages, index, name) for name in index["benchmarks"]}
    index_file.write_text(json.dumps(index))
    for graph in index["graph_param_list"]:
        path = pages / _graph_path("summary", graph)
        rows = [row for row in json.loads(path.read_text()) if row["last_value"] is not None]
        path.write_text(json.dumps(rows))
    for name, old, new in CHANGES:
        _replace(pages / name, old, new)
    regressions_file = pages / "regressions.json"
    told = json.loads(regressions_file.read_text())
    # The third field of each holds the labels of its graph.
    told["regressions"] = [one for one in told["regressions"] if one[2]["machine"] not in ONE_ROUND]
    regressions_file.write_text(json.dumps(told))
    (pages / "regressions.xml").unlink()


def _default(pages: Path, index: dict[str, Any], benchmark: str) -> dict[str, list[str]]:
    """Return the first machine and environment, in the order of the panels, with a figure."""
    order = index["params"]
    graphs = sorted(
        index["graph_param_list"],
        key=lambda graph: [order[label].index(graph[label]) for label in order],
    )
    for graph in graphs:
        path = pages / _graph_path(benchmark, graph)
        if path.exists() and any(point[1] for point in json.loads(path.read_text())):
            return {label: [value] for label, value in graph.items()}
    return {}


def _version(value: str | None) -> tuple[Any, ...]:
    """Return what sorts versions by number, and ``published`` after what is broken."""
    words = re.findall(r"\d+|\D+", value or "")
    numbers = tuple((1, int(w), "") if w.isdecimal() else (0, 0, w) for w in words)
    return (value == "published", numbers)


def _graph_path(name: str, graph: dict[str, str | None]) -> Path:
    """Return where asv keeps a graph; as ``asv.graph.Graph.get_file_path`` does."""
    parts = sorted(
        re.sub(r'[<>:"/\\^|?*\x00-\x1f]', "_", f"{label}-{'null' if value is None else value}")
        for label, value in graph.items()
    )
    return Path("graphs", *parts, f"{name}.json")


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if text.count(old) != 1:
        raise CannotPublish(
            f"asv's {path.name} is not as it was: it holds {old.strip()!r} {text.count(old)} times"
        )
    path.write_text(text.replace(old, new))


def _fetch_scripts() -> Path:
    """Return npm's folder with the packages of ``page/package-lock.json``."""
    npm = shutil.which("npm")
    if npm is None:
        raise CannotPublish("npm is not on the PATH; it brings jquery, flot and Bootstrap")
    folder = ROOT / ".asv" / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PAGE / name, folder)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "node_modules"


def carry_scripts(pages: Path, packages: Path) -> None:
    """Put what asv's page loads from the network beside it."""
    vendor = pages / "vendor"
    vendor.mkdir()
    page = pages / "index.html"
    text = page.read_text()
    for url in re.findall(r'(?:src|href)="(https://[^"]+\.(?:js|css))"', text):
        name = url.rpartition("/")[2]
        if name not in SCRIPTS:
            raise CannotPublish(f"asv's page loads {name}, which page/package.json does not bring")
        shutil.copy(packages / SCRIPTS[name], vendor / name)
        text = text.replace(f'"{url}"', f'"vendor/{name}"')
    # A page from a folder has no origin to compare with; npm has compared the packages.
    text = re.sub(r' (?:integrity|crossorigin|referrerpolicy)="[^"]*"', "", text)
    page.write_text(text)


def carry_data(pages: Path) -> None:
    """Put all data into one script, so that the pages open from a folder as well."""
    data = {
        path.relative_to(pages).as_posix(): json.loads(path.read_text())
        for path in sorted(pages.rglob("*.json"))
    }
    script = "var historyData = " + json.dumps(data, allow_nan=False) + ";\n"
    (pages / "data.js").write_text(script + (PAGE / "data.js").read_text())
    _replace(
        pages / "index.html",
        '<script language="javascript" type="text/javascript"\n            src="asv.js">',
        '<script src="data.js"></script>\n    <script src="asv.js">',
    )


def first_page(results: Path, into: Path) -> None:
    """Write our own page, with a link to each view, and the report of the last release."""
    shutil.copy(PAGE / "page.css", into)
    index = json.loads((into / "asv" / "index.json").read_text())
    items = [_item(view.title, view.sentence, link(into / "asv", index, view)) for view in VIEWS]
    title, text = latest_changes(results, index)
    _write(into / "changes.html", title=html.escape(title), report=html.escape(text))
    sentence = "What became slower or faster beyond noise, in a table; or that nothing did."
    items.append(_item(title, sentence, "changes.html"))
    machines = [
        f"<li><b>{html.escape(name)}</b>: {html.escape(told['cpu'])}, {told['num_cpu']} CPUs, "
        f"{round(int(told['ram']) / 2**30)} GiB, {html.escape(told['os'])}</li>"
        for name, told in index["machines"].items()
    ]
    summary = (
        f"{len(measured_commits(results))} commits, Python {', '.join(index['params']['python'])}, "
        f"CuPy {', '.join(index['params']['cupy'])}. Six views that matter:"
    )
    slower = len(json.loads((into / "asv" / "regressions.json").read_text())["regressions"])
    unjudged = sorted(ONE_ROUND & index["machines"].keys())
    _write(
        into / "index.html",
        slower=str(slower or "nothing"),
        unjudged=f"; {', '.join(unjudged)} not judged, measured in one round" * bool(unjudged),
        views="\n".join(items),
        machines="\n".join(machines),
        summary=summary,
    )


def _write(path: Path, **fields: str) -> None:
    path.write_text(string.Template((PAGE / path.name).read_text()).substitute(fields))


def _item(title: str, sentence: str, address: str | None) -> str:
    title, sentence = html.escape(title), html.escape(sentence)
    if address is None:
        return f"<li><span>{title}</span><p>{sentence} <em>Not measured yet.</em></p></li>"
    return f'<li><a href="{html.escape(address)}">{title}</a><p>{sentence}</p></li>'


def link(pages: Path, index: dict[str, Any], view: View) -> str | None:
    """Return the address of a view on the first machine that has it, None where none has."""
    for machine in index["params"]["machine"]:
        chosen = {"machine": machine, **view.chosen}
        if _has_figures(pages, index, view.benchmark, chosen):
            if view.axis:
                chosen["x-axis"] = view.axis
            if view.scale:
                chosen["y-axis-scale"] = view.scale
            return f"asv/index.html#{view.benchmark}?{urlencode(chosen, doseq=True)}"
    return None


def _has_figures(
    pages: Path, index: dict[str, Any], benchmark: str, chosen: dict[str, str | list[str]]
) -> bool:
    """Return whether what is chosen has a figure at the last commit of a graph."""
    if benchmark not in index["benchmarks"]:
        return False
    wanted = _selected(index["benchmarks"][benchmark], chosen)
    for graph in index["graph_param_list"]:
        path = pages / _graph_path(benchmark, graph)
        if not path.exists() or not all(_chosen(chosen, label, graph[label]) for label in graph):
            continue
        points = json.loads(path.read_text())
        last = points[-1][1] if points else None
        figures = last if isinstance(last, list) else [last]
        if last is not None and any(figures[place] is not None for place in wanted):
            return True
    return False


def _chosen(chosen: dict[str, str | list[str]], name: str, value: str) -> bool:
    """Return whether a value is chosen; where nothing is, all values are."""
    picked = chosen.get(name, value)
    return value in picked if isinstance(picked, list) else value == picked


def _selected(benchmark: dict[str, Any], chosen: dict[str, str | list[str]]) -> list[int]:
    """Return the places of the chosen combinations of parameters in asv's flat lists."""
    places = [0]
    for name, values in zip(benchmark["param_names"], benchmark["params"], strict=True):
        picked = [i for i, value in enumerate(values) if _chosen(chosen, f"p-{name}", value)]
        places = [place * len(values) + i for place in places for i in picked]
    return places


def latest_changes(results: Path, index: dict[str, Any]) -> tuple[str, str]:
    """Return a title and the report of the last release against the newest commit measured."""
    revisions = {commit: int(n) for n, commit in index["revision_to_hash"].items()}
    measured = sorted(set(measured_commits(results)) & set(revisions), key=revisions.__getitem__)
    newest = measured[-1]
    tagged = {revision: tag for tag, revision in index["tags"].items()}
    releases = [c for c in measured[:-1] if revisions[c] in tagged]
    if releases:
        before, title = releases[-1], f"{tagged[revisions[releases[-1]]]} against this one"
    else:
        before, title = measured[0], "The first commit measured against this one"
    try:
        comparison = compare.compare(
            results, before, newest, compare.thresholds(ROOT / "asv.conf.json")
        )
    except compare.NothingToCompare as error:
        return title, str(error)
    return title, compare.report(comparison, load_benchmarks(results))


def main(arguments: list[str] | None = None) -> int:
    """Make the pages, and say where they are."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--into", type=Path, default=ROOT / ".asv" / "html", metavar="FOLDER")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        publish(options.results, options.into)
    except (CannotPublish, subprocess.CalledProcessError) as error:
        print(f"site: {error}", file=sys.stderr)
        return 1
    print(options.into / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())

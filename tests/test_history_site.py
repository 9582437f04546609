"""The pages: what is changed in those that asv makes. The pages here are made up and tiny."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# At the end, so that the cupy_compat that is installed stays the one that is found.
sys.path.append(str(ROOT))

from tools.history import offline, site  # noqa: E402

SMALL = {"machine": "small", "python": "3.9", "branch": "main"}
LARGE = {"machine": "large", "python": "3.13", "branch": "main"}
INDEX = {
    "params": {"machine": ["small", "large"], "python": ["3.13", "3.9"], "branch": ["main"]},
    "machines": {"small": {"num_cpu": "2"}, "large": {"num_cpu": "16"}},
    "graph_param_list": [SMALL, LARGE],
    "benchmarks": {
        "sort": {"param_names": ["threads"], "params": [["1", "8"]]},
        "call": {"param_names": [], "params": []},
    },
}
FIGURES = {
    ("sort", "small"): [[1, [0.5, None]]],
    ("sort", "large"): [[1, [0.5, 0.1]]],
    ("call", "small"): [[1, 0.5], [2, 0.6]],
    ("call", "large"): [[1, None]],
}


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """Return a folder as asv makes it, with the lines of its scripts that are changed."""
    (tmp_path / "index.json").write_text(json.dumps(INDEX))
    for graph in (SMALL, LARGE):
        for name in ("sort", "call"):
            path = tmp_path / site._graph_path(name, graph)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(FIGURES[name, graph["machine"]]))
        rows = [{"name": "sort", "last_value": 0.5}, {"name": "sort", "last_value": None}]
        (tmp_path / site._graph_path("summary", graph)).write_text(json.dumps(rows))
    regressions = [["sort", "a graph", {"machine": name}] for name in ("small", "h200-16-cores")]
    (tmp_path / "regressions.json").write_text(json.dumps({"regressions": regressions}))
    (tmp_path / "regressions.xml").touch()
    for name, old, _ in site.CHANGES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text((path.read_text() if path.exists() else "") + old + "\n")
    return tmp_path


def index_of(pages: Path) -> dict[str, dict[str, dict[str, list[str]]]]:
    """Return what asv's pages start from."""
    return dict(json.loads((pages / "index.json").read_text()))


def test_the_largest_machine_and_the_newest_python_come_first(pages: Path) -> None:
    site.tidy(pages)
    assert index_of(pages)["params"]["machine"] == ["large", "small"]
    # By number: as words 3.9 would be newer.
    assert index_of(pages)["params"]["python"] == ["3.13", "3.9"]


def test_a_published_cupy_comes_before_a_repaired_one() -> None:
    builds = ["Cython 3.1.1, repaired", "published"]
    assert sorted(builds, key=site._version, reverse=True)[0] == "published"


def test_each_benchmark_opens_on_one_environment_that_has_figures(pages: Path) -> None:
    site.tidy(pages)
    opened = index_of(pages)["defaults"]
    assert opened["sort"]["machine"] == ["large"]
    assert opened["call"]["machine"] == ["small"]


def test_the_list_has_no_rows_without_a_figure(pages: Path) -> None:
    site.tidy(pages)
    assert len(json.loads((pages / site._graph_path("summary", SMALL)).read_text())) == 1


def test_no_regression_is_reported_from_a_machine_measured_in_one_round(pages: Path) -> None:
    site.tidy(pages)
    told = json.loads((pages / "regressions.json").read_text())
    assert [one[2]["machine"] for one in told["regressions"]] == ["small"]
    assert not (pages / "regressions.xml").exists()


def test_pages_that_asv_makes_otherwise_are_refused(pages: Path) -> None:
    (pages / "graphdisplay.js").write_text("another version")
    with pytest.raises(site.CannotPublish, match=r"graphdisplay\.js is not as it was"):
        site.tidy(pages)


def test_a_view_leads_to_the_first_machine_that_has_figures_for_it(pages: Path) -> None:
    site.tidy(pages)
    by_threads = site.View("", "", "sort", "threads", {"p-threads": "8"})
    address = site.link(pages, index_of(pages), by_threads)
    assert address == "asv/index.html#sort?machine=large&p-threads=8&x-axis=threads"
    call = site.View("", "", "call", "", {})
    assert site.link(pages, index_of(pages), call) == "asv/index.html#call?machine=small"


def test_a_view_without_figures_has_no_link(pages: Path) -> None:
    site.tidy(pages)
    nothing = site.View("A view", "What to see.", "sort", "", {"p-threads": "8", "python": "3.9"})
    address = site.link(pages, index_of(pages), nothing)
    assert address is None
    assert "Not measured yet" in site._item(nothing.title, nothing.sentence, address)


def test_every_view_is_of_a_benchmark_and_a_parameter_that_exist() -> None:
    known = json.loads((ROOT / "benchmarks" / "results" / "benchmarks.json").read_text())
    for view in site.VIEWS:
        names = known[view.benchmark]["param_names"]
        values = dict(zip(names, known[view.benchmark]["params"], strict=True))
        assert view.axis in ("", *names)
        for name, value in view.chosen.items():
            if name.startswith("p-"):
                assert set([value] if isinstance(value, str) else value) <= set(values[name[2:]])


def test_scripts_from_the_network_are_put_beside_the_page(tmp_path: Path) -> None:
    pages, packages = tmp_path / "pages", tmp_path / "packages"
    for folder in (pages, packages / "jquery" / "dist"):
        folder.mkdir(parents=True)
    (packages / "jquery" / "dist" / "jquery.min.js").write_text("jquery")
    (pages / "index.html").write_text(
        '<script src="https://example.org/jquery-3.3.1.min.js" integrity="x" crossorigin="y">'
    )
    site.carry_scripts(pages, packages)
    assert (pages / "index.html").read_text() == '<script src="vendor/jquery-3.3.1.min.js">'
    assert (pages / "vendor" / "jquery-3.3.1.min.js").read_text() == "jquery"
    (pages / "index.html").write_text('<script src="https://example.org/new.js">')
    (pages / "vendor" / "jquery-3.3.1.min.js").unlink()
    (pages / "vendor").rmdir()
    with pytest.raises(site.CannotPublish, match=r"loads new\.js"):
        site.carry_scripts(pages, packages)


def test_what_is_carried_is_cut_into_pieces_and_nothing_is_lost(tmp_path: Path) -> None:
    pieces = offline._Pieces(tmp_path, "rest", 10)
    for data in (b"0123456", b"789abcdefghijklmnopqrstuvwxy", b"z"):
        assert pieces.write(data) == len(data)
    pieces.close()
    written = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    assert b"".join(written) == b"0123456789abcdefghijklmnopqrstuvwxyz"
    assert [len(piece) for piece in written] == [10, 10, 10, 6]

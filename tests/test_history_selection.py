"""What is measured where."""

import json
import re
import sys
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# At the end, so that the cupy_compat that is installed stays the one that is found.
sys.path.append(str(ROOT))

from tools.history import selection  # noqa: E402

NEWEST = {"python": "3.13", "cupy": "14.2.0", "build": "published", "numpy": "2.2.6"}
OLDER = NEWEST | {"cupy": "13.4.1"}
USUAL = "'cp.asnumpy(cp.sort(cp.array(a)))'"


@pytest.mark.parametrize(
    ("benchmark", "parameters", "labels", "cpus", "gpu", "measured"),
    [
        ("cpu_sort.ThreadedSort.time_sort", {"threads": "2"}, NEWEST, 2, False, True),
        ("cpu_sort.ThreadedSort.time_sort", {"threads": "4"}, NEWEST, 2, False, False),
        ("cpu_sort.ThreadedSort.time_sort", {"threads": "2"}, OLDER, 2, False, False),
        ("cpu_sort.ThreadedSort.time_sort", {"threads": "2"}, {}, 2, False, True),
        ("gpu_sort.OnDevice.track_sort", {}, NEWEST, 16, False, False),
        ("gpu_sort.OnDevice.track_sort", {}, NEWEST, 16, True, True),
        ("gpu_sort.OnDevice.track_sort", {}, OLDER, 16, True, False),
        ("sort_ways.HostToHost.time_sort", {"way": USUAL}, NEWEST, 16, False, False),
        ("sort_ways.HostToHost.time_sort", {"way": "'np.sort'"}, NEWEST, 2, False, True),
        ("sort_ways.HostToHost.time_sort", {"size": "50000000"}, NEWEST, 2, False, False),
        ("sort_ways.HostToHost.time_sort", {"size": "50000000"}, NEWEST, 16, False, True),
        ("memoize.Memoize.time_hit", {}, OLDER, 2, False, True),
        ("import_time.Import.timeraw_import", {"import": "'cupy'"}, OLDER, 2, False, True),
    ],
)
def test_a_benchmark_is_measured_where_it_can_be_and_once(
    benchmark: str,
    parameters: dict[str, str],
    labels: dict[str, str],
    cpus: int,
    gpu: bool,
    measured: bool,
) -> None:
    assert selection.measured(benchmark, parameters, labels, cpus, gpu) is measured


def test_the_page_opens_on_what_every_machine_measures() -> None:
    known = json.loads((ROOT / "benchmarks" / "results" / "benchmarks.json").read_text())
    for name, told in known.items():
        if name != "version" and told["params"] and not name.startswith("gpu_sort."):
            first = dict(zip(told["param_names"], next(product(*told["params"])), strict=True))
            assert selection.measured(name, first, NEWEST, cpus=2, gpu=False), name


def test_the_cupy_that_sorts_are_measured_beside_is_in_the_matrix() -> None:
    text = re.sub(r"^\s*//.*$", "", (ROOT / "asv.conf.json").read_text(), flags=re.M)
    asked = json.loads(text)["matrix"]["req"]
    assert all(value in asked[name] for name, value in selection.SORTS_BESIDE.items())

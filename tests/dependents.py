"""Libraries that use CuPy, each with a broken, a repaired and a healthy one.

``nox -s dependents`` runs this. It installs each library from the package index into a folder of
its own. Three environments use that folder in turn: with a genuinely broken CuPy, with the same and
``cupy-compat-auto``, and with the published wheel of that version. A short program runs each
library up to its first use of CuPy that needs no GPU.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import testbed

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "docs" / "_data" / "dependents.json"
CUPY, CYTHON = "13.4.1", "3.1.1"


@dataclass(frozen=True)
class Library:
    """A library of the package index.

    Attributes
    ----------
    name : str
        Its name there.
    program : str
        Runs it up to its first use of CuPy.
    via : str
        What to install to get it, if that is another one.
    """

    name: str
    program: str
    via: str = ""


LIBRARIES = (
    Library("array-api-compat", "import array_api_compat.cupy"),
    Library("autoray", "import autoray; autoray.do('random.default_rng', like='cupy')"),
    Library(
        "awkward",
        "from awkward._backends.cupy import CupyBackend; CupyBackend.instance()",
    ),
    Library("bm3d-cupy", "import bm3d_cupy"),
    Library("cupy-xarray", "import cupy_xarray"),
    Library(
        "dask[array]",
        "from dask.array.backends import array_creation_dispatch; import dask.array;"
        "array_creation_dispatch.dispatch('cupy')",
    ),
    Library("einops", "import cupy, einops; einops.rearrange([cupy.empty(0)], 'a b -> b a')"),
    Library("pylops", "import pylops"),
    Library("sigpy", "import sigpy"),
    Library("spacy", "import spacy; spacy.prefer_gpu()"),
    Library("tensorly", "import tensorly; tensorly.set_backend('cupy')"),
    Library("thinc", "import thinc.api", "spacy"),
    Library(
        "zarr",
        "import zarr; zarr.config.enable_gpu(); from zarr.core.buffer.gpu import Buffer;"
        "Buffer.create_zero_length()",
    ),
)


def environments(folder: Path) -> dict[str, Path]:
    """Return an interpreter for each side."""
    python = Path(sys.executable)
    broken = testbed.broken(python, CUPY, CYTHON)
    testbed.copy(python, broken, folder / "repaired")
    repaired = folder / "repaired" / "bin" / "python"
    testbed.install(python, folder / "repaired", str(ROOT), str(ROOT / "auto"))
    return {"broken": broken, "repaired": repaired, "healthy": testbed.healthy(python, CUPY)}


def outcome(python: Path, library: Library, folder: Path) -> str:
    """Return "works", or the error that ends the program."""
    done = subprocess.run(
        [python, "-c", library.program],
        env=os.environ | {"PYTHONPATH": str(folder), "CUPY_COMPAT": "always"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return "works" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def examine(library: Library, pythons: dict[str, Path], folder: Path) -> dict[str, str]:
    """Return the outcome of a library on each side."""
    wanted = library.via or library.name
    # With uv, because pip takes a minute to resolve each of these.
    install = ["-m", "uv", "pip", "install", "-q", "--target", str(folder), wanted, "numpy<2.3"]
    subprocess.run([sys.executable, *install], check=True)
    (installed,) = {
        each.version
        for each in distributions(path=[str(folder)])
        if each.name.lower() == library.name.partition("[")[0]
    }
    found = {side: outcome(python, library, folder) for side, python in pythons.items()}
    return {"name": library.name.partition("[")[0], "version": installed, **found}


def main() -> int:
    """Try every library, write the data, and return how many are not cured."""
    rows = []
    with tempfile.TemporaryDirectory(dir=testbed.store(), prefix="dependents-") as name:
        folder = Path(name)
        pythons = environments(folder)
        for library in LIBRARIES:
            rows.append(examine(library, pythons, folder / library.name))
            print(rows[-1], file=sys.stderr, flush=True)
    data = {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "python": platform.python_version(),
        "cupy": CUPY,
        "cython": CYTHON,
        "libraries": rows,
    }
    DATA.write_text(json.dumps(data, indent=1) + "\n")
    return sum(row["repaired"] != row["healthy"] for row in rows)


if __name__ == "__main__":
    sys.exit(main())

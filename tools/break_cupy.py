"""Called by ``asv.conf.json`` after each install: break CuPy where the matrix asks for that."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import testbed

if __name__ == "__main__":
    cython = os.environ.get("BREAKING_CYTHON")
    sys.exit(testbed.main(["--into", sys.executable, "--cython", cython]) if cython else 0)

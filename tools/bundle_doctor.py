"""Make doctor.pyz from the wheel: the doctor in one file, for Python 3.9 and later.

Usage::

    python tools/bundle_doctor.py WHEEL TARGET
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipapp
import zipfile
from importlib.metadata import files
from pathlib import Path

START = """\
import sys

if sys.version_info < (3, 9):
    sys.exit("doctor.pyz needs Python 3.9 or later")

from cupy_compat_doctor.command import main

sys.exit(main())
"""


def bundle(wheel: Path, target: Path) -> None:
    """Write an archive of the doctor, the shim that it tries, wrapt, and their metadata.

    Parameters
    ----------
    wheel : pathlib.Path
        The wheel of cupy-compat.
    target : pathlib.Path
        The file to write.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        package = folder / "cupy_compat"
        shutil.rmtree(package / "cudamark")
        # Under another name, since it runs on Pythons that the package does not support.
        (package / "doctor").rename(folder / "cupy_compat_doctor")
        for file in files("wrapt") or ():
            # wrapt works without its extension module, which is for one Python.
            if file.parts[0].startswith("wrapt") and file.suffix not in (".so", ".pyd", ".pyc"):
                target_file = folder / file
                target_file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file.locate(), target_file)
        (folder / "__main__.py").write_text(START)
        zipapp.create_archive(folder, target, interpreter="/usr/bin/env python3", compressed=True)


if __name__ == "__main__":
    bundle(Path(sys.argv[1]), Path(sys.argv[2]))

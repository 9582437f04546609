"""Measure commits on a machine without network, in the Python, CuPy and NumPy that it has.

On a machine with network::

    python tools/history/offline.py pack FOLDER --python 3.12 --commits A B C

Copy the folder. There, with git and Numba installed::

    python3 FOLDER/offline.py run FOLDER --machine NAME --rounds 2

Each round measures every commit once, so that slow periods of the machine affect all of them.
``FOLDER/results`` is complete after each measurement. After an interruption, the same command
continues.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

#: What asv and the commits import besides CuPy, NumPy and Numba.
TOOLS = ("asv>=0.6.5", "virtualenv>=20", "rich>=13", "wrapt")
#: `asv machine --machine NAME` would keep the name, and nothing else of the machine.
DESCRIBE = """
import sys
from asv.machine import Machine, MachineCollection
MachineCollection.save(sys.argv[1], {**Machine.get_defaults(), "machine": sys.argv[1]})
"""


def call(*command: str | Path, **options: object) -> str:
    """Run a command and return its output. If it fails, exit and show that output."""
    words = [str(word) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False, **options)
    if done.returncode:
        sys.exit(f"{' '.join(words)} failed:\n{done.stdout}")
    return done.stdout


def pack(folder: Path, python: str, commits: list[str]) -> None:
    """Put wheels, the repository and this script into a folder."""
    root = Path(__file__).resolve().parents[2]
    pip, wheels = (sys.executable, "-m", "pip", "-q"), folder / "wheels"
    target = ("--python-version", python, "--only-binary=:all:")
    call(*pip, "download", *target, "--dest", wheels / "tools", *TOOLS)
    parse = ("git", "-C", root, "rev-parse", "--verify")
    hashes = [call(*parse, f"{commit}^{{commit}}").strip() for commit in commits]
    for commit in hashes:
        with tempfile.TemporaryDirectory() as scratch:
            source = Path(scratch, "source")
            call("git", "clone", "-q", "--no-checkout", root, source)
            call("git", "-C", source, "checkout", "-q", commit)
            call(*pip, "wheel", "--no-deps", "--wheel-dir", wheels / commit, source)
    call(
        "git",
        "-C",
        root,
        "bundle",
        "create",
        "-q",
        folder / "repository.bundle",
        "HEAD",
        "--branches",
    )
    shutil.copy2(__file__, folder)
    (folder / "commits.json").write_text(json.dumps(hashes))


def run(folder: Path, machine: str, rounds: int, bench: str) -> None:
    """Measure all commits in turn, as many times as there are rounds."""
    clone, packages, results = folder / "repository", folder / "packages", folder / "results"
    if not clone.exists():
        call("git", "clone", "-q", folder / "repository.bundle", clone)
    install = (sys.executable, "-m", "pip", "-q", "install", "--no-index", "--no-deps")
    for wheels in sorted((folder / "wheels").iterdir()):
        if not (packages / wheels.name).exists():
            call(*install, "--target", packages / wheels.name, *sorted(wheels.glob("*.whl")))
    commits = json.loads((folder / "commits.json").read_text())
    counts = results / "rounds.json"
    done = json.loads(counts.read_text()) if counts.exists() else dict.fromkeys(commits, 0)
    for number in range(1, rounds + 1):
        # Alternate the order, so that no commit is always the first.
        for commit in commits if number % 2 else commits[::-1]:
            if done[commit] >= number:
                continue
            path = os.pathsep.join(map(str, (packages / commit, packages / "tools")))
            # asv passes ASV_PYTHONPATH on to the measured processes.
            env = os.environ | {"PYTHONPATH": path, "ASV_PYTHONPATH": path}
            call(sys.executable, "-c", DESCRIBE, machine, cwd=clone, env=env)
            options = ("--config", "asv.installed.conf.json", "--append-samples", "--show-stderr")
            output = call(
                *(sys.executable, "-m", "asv", "run", *options),
                *("--machine", machine, "--set-commit-hash", commit, "--bench", bench),
                cwd=clone,
                env=env,
            )
            print(output, flush=True)
            shutil.copytree(clone / "benchmarks" / "results", results, dirs_exist_ok=True)
            done[commit] = number
            counts.write_text(json.dumps(done))


def main() -> None:
    """Run the step that the command line names."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("pack", help="prepare a folder, with a network")
    step.add_argument("folder", type=Path)
    step.add_argument("--python", required=True, help="the Python of the other machine, as in 3.12")
    step.add_argument("--commits", nargs="+", required=True)
    step = steps.add_parser("run", help="measure, without a network")
    step.add_argument("folder", type=Path)
    step.add_argument("--machine", required=True, help="the name that the results are given")
    step.add_argument("--rounds", type=int, default=2)
    step.add_argument("--bench", default="", help="measure only benchmarks that match this regex")
    options = vars(parser.parse_args())
    options["folder"] = options["folder"].absolute()
    {"pack": pack, "run": run}[options.pop("step")](**options)


if __name__ == "__main__":
    main()

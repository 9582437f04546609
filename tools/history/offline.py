"""Measure several commits on a machine without network, from environments made elsewhere.

On a machine with network, where the interpreters are on the PATH; it takes the Linux, the
processor's kind and a glibc no newer than those of the other machine::

    python tools/history/offline.py stage STAGE --commits A B C
    python tools/history/offline.py parts STAGE PARTS            # files of at most 60 MiB

There, where any Python 3.8 or later is called python3, and git is installed::

    python3 tools/history/offline.py unpack PARTS STAGE
    python3 tools/history/offline.py run STAGE --machine NAME --minutes 25 --results FOLDER

``run`` measures all commits on the first Python, then on the next, so that what there was time for
is a history. It stops when the next environment would not end in time, as far as it can tell from
the last; what is in FOLDER already is not measured again, so that the same line goes on where it
stopped. Copy FOLDER to ``benchmarks/results`` afterwards.

Nothing here imports more than the standard library, since nothing else is there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.13", "3.12", "3.11")
#: CuPy, and the Cython that breaks it; the first is the one that sorts are measured beside.
CUPYS = (("14.2.0", None), ("13.4.1", "3.1.1"), ("13.4.1", None))
NUMPY = "2.2.6"
#: What the measured processes need besides CuPy, all commits together.
PACKAGES = ("asv_runner", "numba>=0.61", f"numpy=={NUMPY}", "pympler", "rich>=13", "wrapt")
#: What CuPy compiles its kernels with, where no CUDA of that version is installed.
CUDA = ("nvidia-cuda-nvrtc-cu12==12.4.127", "nvidia-cuda-runtime-cu12==12.4.127")
ASV = ("asv>=0.6.5", "virtualenv>=20", "zstandard")
WITHOUT_SORTS = "^(import_time|memoize)"
#: Seconds that the first environment of a kind is taken to need; later ones as long as the last.
FIRST_GUESS = {True: 150.0, False: 45.0}
PART = 60 * 2**20
#: `asv machine --machine NAME` would keep the name, and nothing else of the machine.
DESCRIBE = """
import sys
from asv.machine import Machine, MachineCollection
name = sys.argv[1]
MachineCollection.save(name, {**Machine.get_defaults(), "machine": name})
"""


class Failed(Exception):
    """A step failed; the message says which."""


def run(*command: str | Path, **options: object) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    if done.returncode != 0:
        words = " ".join(map(str, command))
        raise Failed(f"`{words}` failed with {done.returncode}:\n{done.stdout}")
    return str(done.stdout)


# On the machine with network


def stage(into: Path, commits: list[str], pythons: list[str]) -> None:
    """Put interpreters, packages, broken modules, wheels and the repository into a folder."""
    sys.path.insert(0, str(ROOT / "tests"))
    import testbed

    into.mkdir(parents=True, exist_ok=True)
    hashes = [
        run("git", "rev-parse", "--verify", f"{c}^{{commit}}", cwd=ROOT).strip() for c in commits
    ]
    for version in pythons:
        python = testbed.interpreter(version)
        packages = into / "packages" / version
        _interpreter(python, version, into)
        _install(python, packages / "common", *PACKAGES, *CUDA)
        for cupy in sorted({cupy for cupy, _ in CUPYS}):
            # NumPy is in common already, in the version that all are measured with.
            needs = ("fastrlock",) if cupy.startswith("13") else ("cuda-pathfinder",)
            _install(python, packages / f"cupy{cupy}", f"cupy-cuda12x=={cupy}", *needs, alone=True)
        for cupy, cython in CUPYS:
            if cython:
                module = testbed.broken_module(python, cupy, cython)
                target = packages / f"cython{cython}-cupy{cupy}"
                target.mkdir(exist_ok=True)
                shutil.copy2(module, target)
    _install(testbed.interpreter(pythons[0]), into / "packages" / "asv", *ASV)
    for commit in hashes:
        _wheel(testbed.interpreter(pythons[0]), commit, into / "wheels" / commit)
    # asv asks git for the dates of the commits, wherever they are.
    bundle = into / "repository.bundle"
    run("git", "bundle", "create", bundle, "HEAD", "--branches", "--tags", cwd=ROOT)
    plan = {
        "commits": hashes,
        "pythons": pythons,
        "head": run("git", "rev-parse", "HEAD", cwd=ROOT).strip(),
    }
    (into / "plan.json").write_text(json.dumps(plan))


def _interpreter(python: Path, version: str, into: Path) -> None:
    """Copy an interpreter with what it links, but for the system's C library."""
    place = into / "python" / version
    if place.exists():
        return
    prefix = Path(run(python, "-c", "import sys; print(sys.base_prefix)").strip())
    library = f"python{version}"
    unwanted = shutil.ignore_patterns(
        "site-packages",
        "test",
        "tests",
        "__pycache__",
        "idlelib",
        "tkinter",
        "_tkinter*",
        "turtledemo",
        "config-*",
        "*.a",
    )
    fresh = place.with_name(version + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(prefix / "lib" / library, fresh / "lib" / library, ignore=unwanted)
    (fresh / "bin").mkdir()
    shutil.copy2(prefix / "bin" / library, fresh / "bin" / library)
    (fresh / "lib" / library / "site-packages").mkdir()
    linked = [fresh / "bin" / library, *(fresh / "lib" / library / "lib-dynload").glob("*.so")]
    for name, path in sorted(_libraries(linked).items()):
        shutil.copy2(path, fresh / "lib" / name)
    fresh.rename(place)


def _libraries(linked: list[Path]) -> dict[str, str]:
    """Return the shared libraries of files, by their names, without the C library's own."""
    system = ("libc.", "libm.", "ld-linux", "libpthread.", "libdl.", "librt.", "libutil.")
    libraries = {}
    for path in linked:
        for line in run("ldd", path).splitlines():
            name, arrow, rest = line.strip().partition(" => ")
            if arrow and rest.startswith("/") and not name.startswith(system):
                libraries[name] = rest.split()[0]
    return libraries


def _install(python: Path, target: Path, *packages: str, alone: bool = False) -> None:
    if target.exists():
        return
    fresh = target.with_name(target.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    options = ["--no-deps"] if alone else []
    run(
        python, "-m", "pip", "install", "-q", "--no-compile", "--target", fresh, *options, *packages
    )
    fresh.rename(target)


def _wheel(python: Path, commit: str, into: Path) -> None:
    if into.exists():
        return
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        run("git", "worktree", "add", "--detach", source, commit, cwd=ROOT)
        try:
            run(
                python,
                "-m",
                "pip",
                "wheel",
                "-q",
                "--no-deps",
                "-w",
                Path(scratch, "wheel"),
                source,
            )
        finally:
            run("git", "worktree", "remove", "--force", source, cwd=ROOT)
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(Path(scratch, "wheel"), into)


def parts(staged: Path, into: Path) -> None:
    """Pack a staged folder into files that are carried one by one.

    What the Pythons and CuPys have in common is most of them, and is hundreds of megabytes apart:
    a compressor that looks that far back halves the whole.
    """
    into.mkdir(parents=True, exist_ok=True)
    for old in into.iterdir():
        old.unlink()
    first = json.loads((staged / "plan.json").read_text())["pythons"][0]
    # What unpacks the rest, in a form that any Python reads.
    with tarfile.open(into / "first.tar.gz", "w:gz", compresslevel=6) as archive:
        archive.add(staged / "python" / first, f"python/{first}")
        archive.add(staged / "packages" / "asv", "packages/asv")
    sys.path.insert(0, str(staged / "packages" / "asv"))
    import zstandard

    settings = zstandard.ZstdCompressionParameters.from_level(
        6, window_log=30, enable_ldm=True, threads=-1
    )
    pieces = _Pieces(into, "rest", PART)
    packer = zstandard.ZstdCompressor(compression_params=settings)
    with (
        packer.stream_writer(pieces) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        # The same file of another Python or CuPy close by.
        for path in sorted(staged.rglob("*"), key=lambda p: (p.name, str(p))):
            name = path.relative_to(staged)
            if path.is_file() and name.parts[:2] not in (("python", first), ("packages", "asv")):
                archive.add(path, str(name))
    pieces.close()
    for path in sorted(into.iterdir()):
        print(f"{path.stat().st_size / 2**20:6.1f} MiB  {path}")


class _Pieces:
    """A file to write to that is cut into pieces of a size."""

    def __init__(self, folder: Path, name: str, size: int) -> None:
        self.folder, self.name, self.size, self.count = folder, name, size, 0
        self.file = self._next()

    def _next(self):  # type: ignore[no-untyped-def]
        self.count += 1
        return open(self.folder / f"{self.name}.{self.count:02}", "wb")

    def write(self, data: bytes) -> int:
        room = self.size - self.file.tell()
        if len(data) > room:
            self.file.write(data[:room])
            self.file.close()
            self.file = self._next()
            self.write(data[room:])
        else:
            self.file.write(data)
        return len(data)

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        self.file.close()


# On the machine without network


def unpack(packed: Path, into: Path) -> None:
    """Put the parts together again, and make the environments."""
    into.mkdir(parents=True, exist_ok=True)
    with tarfile.open(packed / "first.tar.gz") as archive:
        archive.extractall(into)  # what we packed ourselves
    version = next((into / "python").iterdir()).name
    code = (
        "import sys, tarfile, zstandard, pathlib\n"
        "class Joined:\n"
        "    def __init__(self, paths): self.paths = list(paths); self.file = None\n"
        "    def read(self, size=-1):\n"
        "        while True:\n"
        "            if self.file is None:\n"
        "                if not self.paths: return b''\n"
        "                self.file = open(self.paths.pop(0), 'rb')\n"
        "            data = self.file.read(size)\n"
        "            if data: return data\n"
        "            self.file.close(); self.file = None\n"
        "parts = sorted(pathlib.Path(sys.argv[1]).glob('rest.*'))\n"
        "reader = zstandard.ZstdDecompressor(max_window_size=2**31).stream_reader(Joined(parts))\n"
        "tarfile.open(fileobj=reader, mode='r|').extractall(sys.argv[2], filter='tar')\n"
    )
    environment = _environment(into, version) | {"PYTHONPATH": str(into / "packages" / "asv")}
    run(_carried(into, version), "-c", code, packed, into, env=environment)
    plan = json.loads((into / "plan.json").read_text())
    _virtualenv(into, version, "asv", [into / "packages" / "asv"])
    for version in plan["pythons"]:
        packages = into / "packages" / version
        for cupy, cython in CUPYS:
            folder = packages / f"cupy{cupy}"
            if cython:
                folder = packages / f"broken-cupy{cupy}"
                if not folder.exists():
                    shutil.copytree(packages / f"cupy{cupy}", folder, copy_function=os.link)
                for module in (packages / f"cython{cython}-cupy{cupy}").iterdir():
                    # A new file: the old one is linked into the healthy CuPy as well.
                    (folder / "cupy" / module.name).unlink()
                    shutil.copy2(module, folder / "cupy" / module.name)
            _virtualenv(into, version, _name(version, cupy, cython), [packages / "common", folder])
    clone = into / "repository"
    if not clone.exists():
        run("git", "clone", "-q", into / "repository.bundle", clone)
        run("git", "checkout", "-q", plan["head"], cwd=clone)


def _name(version: str, cupy: str, cython: str | None) -> str:
    return f"py{version}-cupy{cupy}" + (f"-cython{cython}" if cython else "")


def _carried(staged: Path, version: str) -> Path:
    return staged / "python" / version / "bin" / f"python{version}"


def _environment(staged: Path, version: str) -> dict[str, str]:
    """Return the variables that a carried interpreter and its CuPy need."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    nvidia = staged / "packages" / version / "common" / "nvidia"
    # Its own first; asv, which starts it, runs on another of the Pythons.
    pythons = [staged / "python" / version, *sorted((staged / "python").iterdir())]
    libraries = [*(python / "lib" for python in pythons), *sorted(nvidia.glob("*/lib"))]
    return kept | {
        "LD_LIBRARY_PATH": os.pathsep.join([*map(str, libraries), kept.get("LD_LIBRARY_PATH", "")]),
        "CUDA_PATH": str(nvidia / "cuda_runtime"),
    }


def _virtualenv(staged: Path, version: str, name: str, folders: list[Path]) -> None:
    place = staged / "environments" / name
    if not place.exists():
        environment = _environment(staged, version)
        run(_carried(staged, version), "-m", "venv", "--without-pip", place, env=environment)
    site = place / "lib" / f"python{version}" / "site-packages"
    (site / "staged.pth").write_text("".join(f"{folder}\n" for folder in folders))


def measure(staged: Path, machine: str, minutes: float, results: Path, options: list[str]) -> int:
    """Measure what there is time for, with asv's options; return how many environments are left."""
    end = time.monotonic() + 60 * minutes
    plan = json.loads((staged / "plan.json").read_text())
    clone, asv = staged / "repository", staged / "environments" / "asv" / "bin" / "python"
    first = plan["pythons"][0]
    inside = clone / "benchmarks" / "results" / machine
    run(asv, "-c", DESCRIBE, machine, cwd=clone, env=_environment(staged, first))
    guess = dict(FIRST_GUESS)
    jobs = [
        (commit, version, cupy, cython)
        for version in plan["pythons"]
        for commit in plan["commits"]
        for cupy, cython in CUPYS
    ]
    left = 0
    for commit, version, cupy, cython in jobs:
        done = f"{commit[:8]}-installed-py{version}-cupy{cupy}-"
        done += f"cython-{cython}-repaired" if cython else "published"
        if any((results / machine).glob(f"{done}*.json")):
            continue
        sorts = (cupy, cython) == CUPYS[0]
        if left or time.monotonic() + guess[sorts] > end:
            left += 1
            continue
        begin = time.monotonic()
        name = _name(version, cupy, cython)
        python = staged / "environments" / name / "bin" / "python"
        _install_wheel(staged, version, name, commit)
        told = run(
            *(asv, "-m", "asv", "run", "--config", "asv.installed.conf.json"),
            *("-E", f"installed:{python}", "--set-commit-hash", commit, "--machine", machine),
            *(() if sorts else ("-b", WITHOUT_SORTS)),
            *options,
            cwd=clone,
            env=_environment(staged, version),
        )
        guess[sorts] = time.monotonic() - begin
        made = sorted(inside.glob(f"{done}*.json"))
        if not made:
            raise Failed(f"asv left no {done}*.json:\n{told}")
        (results / machine).mkdir(parents=True, exist_ok=True)
        for path in [*made, inside / "machine.json"]:
            shutil.copy2(path, results / machine)
        print(f"{guess[sorts]:4.0f} s  {commit[:8]}  {name}", flush=True)
    print(f"{left} of {len(jobs)} environments are left to be measured")
    return left


def _install_wheel(staged: Path, version: str, name: str, commit: str) -> None:
    """Put a commit's package in the place of the last one's; it is pure Python."""
    site = staged / "environments" / name / "lib" / f"python{version}" / "site-packages"
    for old in [*site.glob("cupy_compat*"), *site.glob("cupy-compat*")]:
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    (wheel,) = (staged / "wheels" / commit).glob("*.whl")
    shutil.unpack_archive(wheel, site, "zip")


def main(arguments: list[str] | None = None) -> int:
    """Do one step; the exit status of ``run`` is 3 where something is left to be measured."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("stage", help="make all that is needed, with a network")
    step.add_argument("staged", type=Path)
    step.add_argument("--commits", nargs="+", required=True, help="newest first")
    step.add_argument("--pythons", nargs="+", default=list(PYTHONS))
    step = steps.add_parser("parts", help="pack it into files that can be carried")
    step.add_argument("staged", type=Path)
    step.add_argument("packed", type=Path)
    step = steps.add_parser("unpack", help="put it together again")
    step.add_argument("packed", type=Path)
    step.add_argument("staged", type=Path)
    step = steps.add_parser("run", help="measure, without a network")
    step.add_argument("staged", type=Path)
    step.add_argument("--machine", required=True, help="the name that the results are given")
    step.add_argument("--minutes", type=float, required=True, help="to end within")
    step.add_argument("--results", type=Path, required=True, help="where they are put")
    step.add_argument("--rounds", type=int, help="fewer than the benchmarks ask for, to save time")
    step.add_argument("--quick", action="store_true", help="a rehearsal: figures without worth")
    options = parser.parse_args(arguments)
    try:
        if options.step == "stage":
            stage(options.staged.absolute(), options.commits, options.pythons)
        elif options.step == "parts":
            parts(options.staged.absolute(), options.packed)
        elif options.step == "unpack":
            unpack(options.packed.absolute(), options.staged.absolute())
        else:
            left = measure(
                options.staged.absolute(),
                options.machine,
                options.minutes,
                options.results.absolute(),
                ["--quick"] * options.quick
                + (["-a", f"rounds={options.rounds}"] if options.rounds else []),
            )
            return 3 if left else 0
    except Failed as error:
        print(f"{options.step}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

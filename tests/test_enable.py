"""``cupy-compat enable`` and ``disable``: whether each start of an environment's Python arms."""

import csv
import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from environments import (
    BASE,
    ORIGIN,
    ROOT,
    Environment,
    clean,
    fails_import,
    make,
    passes_import,
    run,
    start,
)

from cupy_compat.start.files import Startup

#: Prints what the start did, without importing cupy_compat.
STATE = """
import sys
print(sys.modules["cupy_compat"].status().state if "cupy_compat" in sys.modules else "not loaded")
"""
PTH = "cupy_compat_enabled.pth"
MODULE = "_cupy_compat_enabled.py"


def state(venv: Environment, *options: str, **how: object) -> str:
    return venv.output(*options, "-c", STATE, **how).strip()


def installation(venv: Environment) -> dict[str, bytes]:
    """Return what is installed, without the bytecode that Python adds to the packages."""
    files = venv.listing()
    ours = ("/cupy_compat/", "/wrapt/")
    return {name: files[name] for name in files if not any(part in name for part in ours)}


def record(venv: Environment) -> Path:
    (found,) = venv.site.glob("cupy_compat-*.dist-info/RECORD")
    return found


@pytest.mark.parametrize("kind", ["wheels", "editables"])
def test_each_start_arms_on_every_python_until_disabled(
    kind: str, venv: Environment, request: pytest.FixtureRequest
) -> None:
    venv.install(request.getfixturevalue(kind)[0])
    before = installation(venv)
    assert fails_import(venv.start(ORIGIN))

    said = venv.do("enable")
    for path in (venv.site / MODULE, venv.site / PTH, record(venv)):
        assert f"wrote {path}\n" in said
    for policy in ("auto", "never"):
        assert passes_import(venv.start(ORIGIN, environment={"CUPY_COMPAT": policy}))
    for option in ("-I", "-E", "-s", "-P", "-O", "-Wd"):
        assert state(venv, option) == "armed"
    assert state(venv, "-S") == "not loaded"
    rows = list(csv.reader(record(venv).read_text().splitlines()))
    assert {MODULE, PTH} < {row[0] for row in rows}

    enabled = venv.listing()
    said = venv.do("enable")
    assert "wrote" not in said and "already" in said
    assert venv.listing() == enabled

    said = venv.do("disable")
    for path in (venv.site / MODULE, venv.site / PTH):
        assert f"removed {path}\n" in said
    assert f"wrote {record(venv)}\n" in said
    assert installation(venv) == before
    assert fails_import(venv.start(ORIGIN))
    assert venv.do("disable").startswith("Nothing to do: ")


def test_status_says_whether_it_is_enabled(venv: Environment, wheels: list[Path]) -> None:
    venv.install(wheels[0])
    ask = ("enable", "--status")
    done = venv.start(*ask, program=venv.command)
    assert (done.returncode, done.stdout) == (1, "not enabled\n")
    venv.do("enable")
    files = f"{venv.site / MODULE}\n{venv.site / PTH}\n"
    assert venv.do(*ask) == f"{files}enabled\n"
    venv.install(wheels[1])
    assert venv.do(*ask).startswith(f"{files}enabled\ncupy-compat-auto 0.")
    recorded = record(venv).read_bytes()
    for path, harm, left in (
        (venv.site / PTH, b"", files),
        (record(venv), recorded.replace(PTH.encode(), b"other.pth"), files),
        (venv.site / PTH, None, f"{venv.site / MODULE}\n"),
    ):
        path.unlink() if harm is None else path.write_bytes(harm)
        done = venv.start(*ask, program=venv.command)
        assert done.returncode == 1
        assert done.stdout.startswith(f"{left}not enabled\n")
        venv.do("enable")
        assert venv.do(*ask).startswith(f"{files}enabled\n")


@pytest.mark.parametrize("by", ["pip", "uv"])
def test_uninstalling_the_package_disables_it(
    by: str, venv: Environment, wheels: list[Path]
) -> None:
    before = venv.listing()
    venv.install(wheels[0])
    venv.do("enable")
    assert state(venv) == "armed"
    venv.uninstall(by, "cupy-compat")
    assert venv.listing() == before
    assert state(venv) == "not loaded"


def test_leftover_files_do_nothing(venv: Environment, wheels: list[Path]) -> None:
    venv.install(wheels[0])
    venv.do("enable")
    shutil.rmtree(venv.site / "cupy_compat")
    assert state(venv) == "not loaded"
    # An uninstallation may leave a folder, which imports as an empty package.
    (venv.site / "cupy_compat").mkdir()
    assert venv.output("-c", "print('on')") == "on\n"


def test_the_record_is_restored_byte_for_byte(venv: Environment, wheels: list[Path]) -> None:
    venv.install(wheels[0])
    for end in (b"\n", b"\r\n"):
        lines = record(venv).read_bytes().splitlines()
        record(venv).write_bytes(b"".join(line + end for line in lines))
        record(venv).chmod(0o640)
        before = record(venv).read_bytes()
        venv.do("enable")
        after = record(venv).read_bytes()
        assert after.startswith(before)
        assert after.count(end) == after.count(b"\n") == before.count(b"\n") + 5
        for path in (record(venv), venv.site / PTH, venv.site / MODULE):
            assert path.stat().st_mode & 0o777 == 0o640
        venv.do("disable")
        assert record(venv).read_bytes() == before


def test_a_record_without_a_final_newline_gets_one(venv: Environment, wheels: list[Path]) -> None:
    venv.install(wheels[0])
    record(venv).write_bytes(record(venv).read_bytes().rstrip())
    venv.do("enable")
    venv.uninstall("pip", "cupy-compat")
    assert not list(venv.site.glob("*cupy_compat*"))


def without_privilege() -> None:
    """Make a folder's permissions apply to this process, even if it runs as root."""
    if os.geteuid() == 0:
        drop_from_bounding_set, override_permissions = 24, 1
        assert ctypes.CDLL(None).prctl(drop_from_bounding_set, override_permissions) == 0


@pytest.mark.parametrize("command", ["enable", "disable"])
@pytest.mark.parametrize("locked", ["site", "dist-info"])
def test_without_permission_it_refuses_with_one_line(
    command: str, locked: str, venv: Environment, wheels: list[Path]
) -> None:
    venv.install(wheels[0])
    venv.output("-m", "cupy_compat", "enable")
    if command == "enable":
        venv.output("-m", "cupy_compat", "disable")
    before = venv.listing()
    name = str(record(venv).relative_to(venv.folder))
    folder = venv.site if locked == "site" else record(venv).parent
    folder.chmod(0o555)
    done = venv.start(command, program=venv.command, preexec_fn=without_privilege)
    folder.chmod(0o755)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"cupy-compat {command}: cannot ")
    assert line.endswith(": Permission denied")
    after = venv.listing()
    if command == "enable" or locked == "site":
        assert after == before
    else:
        # The files are gone. A record may safely list more than exists.
        assert {Path(name).name for name in before.keys() - after.keys()} >= {MODULE, PTH}
        assert before[name] == after[name]


def test_without_an_installation_it_refuses_with_one_line(
    stranger: Environment, wheels: list[Path], tmp_path: Path
) -> None:
    target = tmp_path / "target"
    pip = (sys.executable, "-m", "pip", "-q", "install", "--no-index", "--no-deps")
    run(*pip, "--target", target, wheels[0])
    unrecorded = tmp_path / "unrecorded"
    shutil.copytree(target, unrecorded)
    (next(unrecorded.glob("*.dist-info")) / "RECORD").unlink()
    alone = tmp_path / "alone"
    shutil.copytree(target / "cupy_compat", alone / "cupy_compat")
    for place, message in [
        (alone, "cupy-compat is not installed in "),
        (unrecorded, "the installed cupy-compat has no RECORD"),
        (target, f"cupy-compat is installed in {target}, which is not a site-packages folder of "),
    ]:
        for command in ("enable", "disable"):
            words, path = ("-m", "cupy_compat", command), {"PYTHONPATH": str(place)}
            done = stranger.start(*words, environment=path)
            assert done.returncode == 1
            (line,) = done.stderr.splitlines()
            assert line.startswith(f"cupy-compat {command}: {message}")


def test_user_site_packages_are_enabled_for_that_user(wheels: list[Path], tmp_path: Path) -> None:
    user = {"PYTHONUSERBASE": str(tmp_path / "user base")}

    def ask(*words: str, **variables: str) -> str:
        done = start(BASE, *words, env=clean() | variables)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    # Debian's Python has no pip, and allows only Debian to install beside it.
    pip = (sys.executable, "-m", "pip", "-q", "--python", BASE, "install", "--user", "--no-deps")
    how = ("--break-system-packages", "--no-index", "--no-warn-script-location")
    done = start(*pip, *how, wheels[0], env=clean() | user)
    assert done.returncode == 0, done.stderr
    ask("-m", "cupy_compat", "enable", **user)
    assert ask("-c", STATE, **user) == "armed"
    assert ask("-c", STATE) == ask("-s", "-c", STATE, **user) == "not loaded"
    # A virtual environment that sees them must not change them, because others see them, too.
    inner = make(tmp_path / "inner", "--system-site-packages")
    refused = inner.start("-m", "cupy_compat", "disable", environment=user)
    assert refused.returncode == 1
    assert f", which is not a site-packages folder of {inner.folder}; install it" in refused.stderr
    ask("-m", "cupy_compat", "disable", **user)
    assert ask("-c", STATE, **user) == "not loaded"


def test_enable_auto_and_run_together_arm_once(venv: Environment, wheels: list[Path]) -> None:
    venv.install(*wheels)
    venv.do("enable")
    code = """
    import sys, cupy_compat
    print(sum("cupy_compat" in repr(finder) for finder in sys.meta_path))
    import cupy
    print(cupy_compat.status().state)
    """
    code = "\n".join(line.strip() for line in code.splitlines())
    assert venv.do("run", "-c", code) == "1\nrepaired\n"
    venv.do("disable")
    assert venv.do("run", "-c", code) == "1\nrepaired\n"
    venv.do("enable")
    venv.uninstall("pip", "cupy-compat-auto")
    assert venv.output("-c", code) == "1\nrepaired\n"


def test_a_start_arms_under_unusual_conditions(venv: Environment, wheels: list[Path]) -> None:
    venv.install(*wheels)
    venv.do("enable")
    assert state(venv, "-X", "dev", "-W", "error") == "armed"
    done = venv.start("-X", "importtime", "-c", STATE)
    assert (done.returncode, done.stdout) == (0, "armed\n")
    done = start(venv.python, "-c", STATE, env={})
    assert (done.returncode, done.stdout, done.stderr) == (0, "armed\n", "")
    code = "import sys; sys.exit(sys.modules['cupy_compat'].status().state != 'armed')"
    closed = ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', venv.python, code]
    assert subprocess.run(closed, env=clean(), check=False).returncode == 0
    # Put it first on the path, because Debian's standard library has a sitecustomize.
    (venv.folder / "sitecustomize.py").write_text("raise ValueError('mine')")
    done = venv.start("-c", STATE, environment={"PYTHONPATH": str(venv.folder)})
    assert (done.returncode, done.stdout) == (0, "armed\n")
    assert done.stderr.endswith("\nValueError: mine\n")
    startup = venv.folder / "startup.py"
    startup.write_text(STATE)
    done = venv.start("-i", environment={"PYTHONSTARTUP": str(startup)}, input="exit()\n")
    assert done.stdout.endswith("armed\n")
    venv.site.chmod(0o555)
    assert state(venv, preexec_fn=without_privilege) == "armed"
    venv.site.chmod(0o755)


@pytest.mark.parametrize("encoding", ["ascii", "ascii:ignore", "latin-1", "utf-8"])
def test_a_path_that_stdout_cannot_encode_is_escaped(
    encoding: str, venv: Environment, wheels: list[Path]
) -> None:
    # \udcff stands for a byte that is not valid UTF-8.
    venv.install(wheels[0])
    moved = Environment(venv.folder.rename(venv.folder.parent / "Zoë 日本 \udcff"))
    codec, _, errors = encoding.partition(":")
    for words in (["enable"], ["enable", "--status"], ["disable"]):
        done = moved.start(
            *("-m", "cupy_compat", *words),
            environment={"PYTHONIOENCODING": encoding},
            cwd=moved.folder.parent,
            encoding="latin-1",
        )
        assert (done.returncode, done.stderr) == (0, "")
        expected = str(moved.folder).encode(codec, errors or "backslashreplace").decode("latin-1")
        assert expected in done.stdout


def test_an_environment_made_from_it_is_not_armed(
    venv: Environment, wheels: list[Path], tmp_path: Path
) -> None:
    venv.install(wheels[0])
    venv.do("enable")
    venv.output("-m", "venv", "--without-pip", tmp_path / "inner")
    assert state(Environment(tmp_path / "inner")) == "not loaded"


def test_python_3_18_gets_the_file_that_it_reads(tmp_path: Path) -> None:
    # A stand-in, because that Python does not exist yet. A line is `module:callable`.
    startup = Startup(tmp_path / "cupy_compat-1.dist-info" / "RECORD")
    for python in ((3, 11), (3, 17)):
        assert [path.name for path in startup.files(python)] == [MODULE, PTH]
    files = startup.files((3, 18))
    assert [path.name for path in files] == [MODULE, "cupy_compat_enabled.start"]
    for path, content in files.items():
        path.write_bytes(content)
    (entry,) = (tmp_path / "cupy_compat_enabled.start").read_text().splitlines()
    module, _, function = entry.partition(":")
    code = f"import sys; sys.path[:0] = {[str(tmp_path), str(ROOT)]}; import {module}\n"
    printed = subprocess.check_output(
        [BASE, "-c", f"{code}{module}.{function}(){STATE}"], env=clean(), text=True
    )
    assert printed == "armed\n"


def test_show_prints_each_start_up_file_and_the_hash_that_the_documentation_lists(
    venv: Environment, wheels: list[Path]
) -> None:
    venv.install(*wheels)
    before = venv.listing()
    shown = venv.do("enable", "--show")
    assert venv.listing() == before
    assert shown.count("would be written") == 2
    venv.do("enable")
    files = [venv.site / PTH, venv.site / MODULE, venv.site / "cupy_compat_auto.pth"]
    files.append(venv.site / "_cupy_compat_auto" / "__init__.py")
    shown = venv.do("enable", "--show")
    assert shown.count("present") == 4
    page = (ROOT / "docs" / "sites.md").read_text()
    for file in files:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert f"{file} (present)\nsha256 {digest}\n" in shown
        assert f"`{file.relative_to(venv.site)}` | `{digest}`" in page
        assert all(line.strip() in shown for line in file.read_text().splitlines())

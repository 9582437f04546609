"""Features of Python 3.14 and later: lazy annotations and lazy imports."""

import json
import sys
from pathlib import Path

import pytest
import testbed
from conftest import Interpreter
from environments import Environment, make

#: A CuPy whose functions refuse annotations, because its Cython calls their setter in a wrong way
#: (cython/cython#7767). CuPy itself imports.
REFUSING = ("14.1.1" if sys.version_info < (3, 15) else "14.2.0", "3.2.6")

MEMOIZE = """
import cupy
@cupy.memoize()
def length(x: list, y: Undefined = 0) -> int:
    return len(x)
"""


@pytest.fixture(scope="module")
def refusing(shim: Path) -> Interpreter:
    return Interpreter(testbed.broken(sys.executable, *REFUSING), shim)


def test_functions_that_refuse_annotations_get_them(
    refusing: Interpreter, reference: Interpreter
) -> None:
    plain = refusing.run(MEMOIZE, shim=False)
    assert "TypeError: length.__annotate__() missing 1 required" in plain.stderr
    assert plain.returncode == 1
    refusing.output("import cupy_compat\n" + MEMOIZE)
    parity = Path(__file__).with_name("parity.py")
    expected = reference.output(parity, shim=False)
    assert json.loads(refusing.output(parity)) == json.loads(expected)


def test_annotations_are_evaluated_when_they_are_read(broken: Interpreter) -> None:
    code = """
        print(length.__annotations__)
        """
    refused = broken.run("import cupy_compat\n" + MEMOIZE + code.strip())
    assert "NameError: name 'Undefined' is not defined" in refused.stderr
    printed = broken.output("import cupy_compat\n" + MEMOIZE + "Undefined = int\n" + code.strip())
    assert printed == "{'x': <class 'list'>, 'y': <class 'int'>, 'return': <class 'int'>}\n"


SWITCHES = {
    "plain": (),
    "isolated": ("-I",),
    "strict": ("-W", "error"),
    # Python 3.14 ignores it.
    "lazy": ("-X", "lazy_imports=all"),
    "lazy and isolated": ("-X", "lazy_imports=all", "-I"),
    "lazy and strict": ("-X", "lazy_imports=all", "-W", "error"),
}
#: Prints the finder first, because importing cupy_compat later would arm as well.
USE = "import sys; print(sys.meta_path[0]); import cupy; print(cupy.memoize()(len)('abc'))"


@pytest.fixture(scope="module", params=["enable", "auto", "run"])
def arming_environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wheels: list[Path]
) -> tuple[Environment, str]:
    made = make(tmp_path_factory.mktemp(request.param) / "env")
    made.install(*wheels[: 2 if request.param == "auto" else 1])
    if request.param == "enable":
        made.do("enable")
    return made, request.param


@pytest.mark.parametrize("switches", SWITCHES)
def test_each_start_arms_and_repairs(
    arming_environment: tuple[Environment, str], switches: str
) -> None:
    environment, how = arming_environment
    options = SWITCHES[switches]
    if how == "run" and "-I" in options:
        refused = environment.start(*options, "-m", "cupy_compat", "run", "-c", USE)
        assert "python's options -I, -E and -S prevent the repair" in refused.stderr
        return
    command = ["-m", "cupy_compat", "run"] if how == "run" else []
    printed = environment.output(*options, *command, "-c", USE)
    assert printed == "<cupy_compat: waits for cupy._util>\n3\n"

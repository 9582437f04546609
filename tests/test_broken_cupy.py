"""The shim on genuinely broken CuPys."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

from conftest import Interpreter, arming
from testbed import healthy as healthy_environment

MESSAGE = (
    "AttributeError: attribute '__name__' of 'builtin_function_or_method' objects is not writable"
)

WALK = textwrap.dedent("""
    import json, pkgutil, sys, warnings
    warnings.simplefilter("ignore")
    import cupy, cupyx
    found = {}
    def importable(package):
        for info in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            if any(part.startswith("_") for part in info.name.split(".")):
                continue
            try:
                module = __import__(info.name, fromlist=["*"])
                found[info.name] = sorted(name for name in vars(module) if name[0] != "_")
            except Exception as error:
                found[info.name] = f"{type(error).__name__}: {error}".replace(sys.prefix, "")
                continue
            if info.ispkg:
                importable(module)
    importable(cupy)
    importable(cupyx)
    print(json.dumps(found))
""")


def assert_fails_as_documented(done: "subprocess.CompletedProcess[str]") -> None:
    assert done.returncode == 1
    assert done.stderr.strip().endswith(MESSAGE)
    assert 'File "cupy/cuda/device.pyx", line 105, in init cupy.cuda.device' in done.stderr
    assert "cupy_compat" not in done.stderr


def test_cupy_fails_without_the_shim_and_imports_with_it(any_broken: Interpreter) -> None:
    assert_fails_as_documented(any_broken.run("import cupy", shim=False))
    printed = any_broken.output(
        """
        import cupy_compat
        print(cupy_compat.status().state)
        import cupy
        calls = []
        @cupy.memoize()
        def square(x):
            "Return the square."
            calls.append(x)
            return x * x
        print(square(3), square(3), calls, square.__name__, square.__doc__)
        print(cupy_compat.status().state)
        """,
        **arming(),
    )
    assert printed.splitlines() == ["armed", "9 9 [3] square Return the square.", "repaired"]


def test_every_public_submodule_imports_as_in_a_healthy_wheel(any_broken: Interpreter) -> None:
    assert_fails_as_documented(any_broken.run(WALK, shim=False))
    # A wheel is called cupy-cuda12x, and a source build cupy.
    asked = (
        "import importlib.metadata as m\n"
        "print(*(d.version for d in m.distributions() if d.name.startswith('cupy')))"
    )
    version = any_broken.output(asked).strip()
    wheel = Interpreter(healthy_environment(sys.executable, version), any_broken.shim)
    expected = json.loads(wheel.output(WALK, shim=False))
    assert len(expected) > 40
    assert json.loads(any_broken.output("import cupy_compat\n" + WALK, **arming())) == expected


def test_with_the_policy_never_cupy_fails(broken: Interpreter) -> None:
    assert_fails_as_documented(broken.run("import cupy_compat\nimport cupy", CUPY_COMPAT="never"))


def test_by_default_cupy_fails_on_pythons_before_3_13(broken: Interpreter) -> None:
    done = broken.run("import cupy_compat\nimport cupy")
    if sys.version_info >= (3, 13):
        assert done.returncode == 0, done.stderr
    else:
        assert_fails_as_documented(done)


def test_a_repaired_function_behaves_as_in_the_first_fixed_cupy(
    any_broken: Interpreter, reference: Interpreter
) -> None:
    script = Path(__file__).with_name("parity.py")
    expected = json.loads(reference.output(script, shim=False))
    assert json.loads(any_broken.output(script, **arming())) == expected


def test_spec_and_loader_are_the_real_ones_after_the_repair(broken: Interpreter) -> None:
    printed = broken.output(
        """
        import cupy_compat, cupy
        util = cupy._util
        print(type(util.__spec__.loader).__name__, util.__loader__ is util.__spec__.loader)
        print(util.functools.lru_cache.__module__, type(util.functools).__name__)
        """,
        **arming(),
    )
    assert printed.split() == ["ExtensionFileLoader", "True", "functools", "RepairedFunctools"]


def test_uninstall_restores_functools_and_memoized_functions_keep_working(
    broken: Interpreter,
) -> None:
    printed = broken.output(
        """
        import functools, sys
        import cupy_compat, cupy
        before = list(sys.meta_path)
        f = cupy.memoize()(lambda x: [x])
        first = f(1)
        cupy_compat.uninstall()
        print(cupy._util.functools is functools, len(before) - len(sys.meta_path))
        print(f(1) is first, f.__name__, cupy_compat.status().state)
        cupy.clear_memo()
        print(f(1) is first)
        try:
            cupy.memoize()(print)
        except AttributeError as error:
            print(error)
        print(cupy_compat.install(force=True).state, cupy.memoize()(len)("abc"))
        """,
        **arming(),
    )
    assert printed.splitlines() == [
        "True 1",
        "True <lambda> inactive",
        "False",
        MESSAGE.partition(": ")[2],
        "repaired 3",
    ]


def test_a_cupy_whose_import_has_failed_is_repaired(broken: Interpreter) -> None:
    printed = broken.output(
        """
        import sys
        for attempt in range(2):
            try:
                import cupy
            except AttributeError as error:
                print(error)
        import cupy_compat
        print(cupy_compat.status().state)
        import cupy, cupyx
        print(cupy.memoize()(len)("abc"), cupy.__version__, cupy_compat.status().state)
        print(cupy.ndarray.__module__, sys.modules["cupy._util"] is cupy._util)
        """,
        **arming(),
    )
    failure = MESSAGE.partition(": ")[2]
    assert printed.splitlines() == [failure, failure, "repaired", "3 13.4.1 repaired", "cupy True"]


def test_reloading_and_installing_again_change_nothing(broken: Interpreter) -> None:
    printed = broken.output(
        """
        import importlib, sys
        import cupy_compat
        armed = list(sys.meta_path)
        importlib.reload(cupy_compat)
        cupy_compat.install(); cupy_compat.install(force=True)
        print(sys.meta_path == armed)
        import cupy
        coping = cupy._util.functools
        importlib.reload(cupy_compat)
        cupy_compat.install(force=True)
        print(cupy._util.functools is coping, sys.meta_path == armed)
        print(cupy_compat.status().state)
        cupy_compat.uninstall(); cupy_compat.uninstall()
        print(len(armed) - len(sys.meta_path))
        """,
        **arming(),
    )
    assert printed.split() == ["True", "True", "True", "repaired", "1"]


def test_threads_that_import_simultaneously_get_a_repaired_cupy(broken: Interpreter) -> None:
    printed = broken.output(
        """
        import threading
        import cupy_compat
        found = []
        def work():
            import cupy
            found.append(cupy.memoize()(len)("abc"))
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(found, cupy_compat.status().state)
        """,
        **arming(),
    )
    assert printed.strip() == "[3, 3, 3, 3, 3, 3, 3, 3] repaired"

"""A benchmark's version rises with its code, since airspeed velocity compares equal versions."""

import ast
import hashlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
#: The version of each module, and the digest of its code.
RECORDED: dict[str, tuple[str, str]] = {
    "cpu_sort": ("2", "e924d58677e0"),
    "gpu_sort": ("2", "670a3ad23424"),
    "import_time": ("2", "586b5e7d10e3"),
    "memoize": ("3", "8d8e9e7a2dbd"),
}


def version_and_digest(module: str, shared: str) -> tuple[str, str]:
    """Return the version in a module's code, and what changes with the rest of it."""
    code = ast.parse(module)
    (line,) = (node for node in code.body if ast.unparse(node).startswith("version ="))
    code.body.remove(line)
    digest = hashlib.sha256()
    for tree in (code, ast.parse(shared)):
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value = ast.Constant("a docstring")
        digest.update(ast.unparse(tree).encode())
    return ast.unparse(line).split("'")[1], digest.hexdigest()[:12]


@pytest.mark.parametrize("name", ["cpu_sort", "gpu_sort", "import_time", "memoize"])
def test_a_benchmark_that_changed_has_a_new_version(name: str) -> None:
    sources = [(BENCHMARKS / f"{each}.py").read_text() for each in (name, "measuring")]
    version, digest = version_and_digest(*sources)
    recorded, same = RECORDED.get(name, ("", ""))
    assert (version == recorded) == (digest == same), (
        f"benchmarks/{name}.py, or measuring.py, changed: raise its version above {recorded!r}"
    )
    assert digest == same, f"record {name!r}: {(version, digest)} in RECORDED"


def test_the_digest_changes_with_the_code_alone() -> None:
    module = 'version = "1"\nsize = 10\ndef f():\n    """Sort."""\n    return size\n'
    version, digest = version_and_digest(module, "turns = 3")
    for same in (module.replace("Sort", "Sorts"), module + "# why\n"):
        assert version_and_digest(same, "turns = 3  # why") == (version, digest)
    for other, turns in ((module.replace("10", "20"), "3"), (module, "4")):
        assert version_and_digest(other, f"turns = {turns}")[1] != digest

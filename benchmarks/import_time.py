"""What ``import`` takes, each sample in a fresh interpreter."""

from benchmarks.environment import REPAIRED

#: What is imported, and ``CUPY_COMPAT`` meanwhile.
IMPORTS = {
    "cupy_compat, off": ("import cupy_compat", "never"),
    "cupy_compat, armed": ("import cupy_compat", "always"),
    "cupy": ("import cupy", "never"),
    "cupy, shim armed": ("import cupy_compat, cupy", "always"),
}


class Import:
    """The shim alone, and CuPy without and with it; where CuPy is broken, it is repaired."""

    params = list(IMPORTS)
    param_names = ("import",)
    version = "1"
    number = 1
    # A few samples in each of several rounds, since what else a machine does changes by the minute.
    rounds = 4

    def setup(self, what):
        if REPAIRED and what == "cupy":
            raise NotImplementedError("this CuPy does not import without cupy_compat")
        # The shim takes half a millisecond, of which any other process takes a good part.
        self.repeat = 5 if what.startswith("cupy,") or what == "cupy" else 20

    def timeraw_import(self, what):
        statement, compat = IMPORTS[what]
        return statement, f"import os; os.environ['CUPY_COMPAT'] = {compat!r}"

    timeraw_import.pretty_name = "import"

"""What ``import`` takes, each sample in a fresh interpreter."""

from benchmarks.environment import BROKEN


class ImportShim:
    """``import cupy_compat`` alone, where nothing else of CuPy is imported."""

    number = 1
    repeat = 10
    rounds = 4

    def timeraw_off(self):
        """With ``CUPY_COMPAT=never``, and by default on Python 3.11 and 3.12."""
        return "import cupy_compat"

    timeraw_off.env = {"CUPY_COMPAT": "never"}
    timeraw_off.pretty_name = "import cupy_compat, inactive"

    def timeraw_armed(self):
        """With ``CUPY_COMPAT=always``, and by default from Python 3.13 on."""
        return "import cupy_compat"

    timeraw_armed.env = {"CUPY_COMPAT": "always"}
    timeraw_armed.pretty_name = "import cupy_compat, armed"


class ImportCupyPlain:
    """``import cupy`` as it is."""

    number = 1
    repeat = 3
    rounds = 4

    def setup(self):
        if BROKEN:
            raise NotImplementedError("this CuPy does not import without cupy_compat")

    def timeraw_plain(self):
        return "import cupy"

    timeraw_plain.pretty_name = "import cupy, without the shim"


class ImportCupyShimmed:
    """``import cupy`` under the armed shim, which repairs it where it is broken."""

    number = 1
    repeat = 3
    rounds = 4

    def timeraw_shimmed(self):
        return "import cupy_compat, cupy"

    timeraw_shimmed.env = {"CUPY_COMPAT": "always"}
    timeraw_shimmed.pretty_name = "import cupy_compat, cupy (13.4.1: repaired)"

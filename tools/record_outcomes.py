"""A pytest plugin that records the outcome of each test in the file $RECORD_OUTCOMES.

It writes each outcome at once, so an interrupted run keeps them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator
from typing import Any

import pytest

#: The type of the exception in the last line of a traceback.
_INNER = re.compile(r"^(?:E +)?((?:\w+\.)*\w*(?:Error|Exception|Warning))(?=:|$)", re.MULTILINE)


# pytest's own plugins have applied xfail marks by then.
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Generator[None, Any, Any]:
    """Record one phase of a test."""
    report = yield
    # Leave out a setup or a teardown that passes.
    if report.when == "call" or not report.passed:
        expected = "x" if hasattr(report, "wasxfail") else ""
        _record(item.nodeid, report.when, expected + report.outcome, call.excinfo)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: Any) -> Generator[None, Any, Any]:
    """Record a module that cannot be collected."""
    report = yield
    if not report.passed:
        _record(collector.nodeid, "collect", report.outcome, report.call.excinfo)
    return report


def _record(test: str, when: str, outcome: str, raised: Any) -> None:
    kind = None
    if raised is not None:
        # For a module that does not import, and in CuPy's comparisons with NumPy, the message holds
        # the traceback of another error.
        inner = " and ".join(_INNER.findall(str(raised.value)))
        kind = f"{raised.type.__module__}.{raised.type.__qualname__}" + f" over {inner}" * bool(
            inner
        )
    with open(os.environ["RECORD_OUTCOMES"], "a", encoding="utf-8") as file:
        file.write(json.dumps([test, when, outcome, kind]) + "\n")

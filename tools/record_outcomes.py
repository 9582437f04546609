"""A plugin for pytest that writes down how each test ends, line by line as it happens.

A run that is cut short so keeps what it has. ``RECORD_OUTCOMES`` names the file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator
from typing import Any

import pytest

#: The type in the last line of a traceback.
_INNER = re.compile(r"^(?:E +)?((?:\w+\.)*\w*(?:Error|Exception|Warning))(?=:|$)", re.MULTILINE)


# Registered after the plugins of pytest itself, so around them: xfail marks are seen to by then.
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Generator[None, Any, Any]:
    """Record one phase of a test."""
    report = yield
    # Of a setup or teardown only a failure or a skip says anything.
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
    kind = said = None
    if raised is not None:
        kind, told = f"{raised.type.__module__}.{raised.type.__qualname__}", str(raised.value)
        said = told.strip().partition("\n")[0][:200]
        # pytest for a module that does not import, and CuPy's comparisons with NumPy, raise
        # something of their own and put the tracebacks that led to it into its message.
        inner = _INNER.findall(told)
        kind += f" over {' and '.join(inner)}" if inner else ""
    with open(os.environ["RECORD_OUTCOMES"], "a", encoding="utf-8") as file:
        file.write(json.dumps([test, when, outcome, kind, said]) + "\n")

"""What holds for every test: under CI nothing is skipped, since a skipped proof proves nothing."""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

# A machine that is busy is no finding; in CI the same examples are drawn each time.
settings.register_profile("unhurried", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("unhurried")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where `CI` is set; `.ci/run` installs all that is needed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI doesn't allow: {report.longrepr}"
    return report

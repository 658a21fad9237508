"""The table of `make test-faults`: every fault of docs/faults.md, and what became of it.

A plugin of pytest (`-p tests.faults.table`). It runs the tests whose names begin with the id of
a fault, of whatever level, and ends with one row a fault. The run fails where a fault was neither
injected nor has a reason in docs/faults.md why not. What was seen are the words that a test noted
(`fleet.seen`, or pytest's `record_property("seen", ...)`), else the names of the tests.
"""

import io
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.catalogue import Fault, Run, ids_of, rows, words_of
from tests.faults.measures import MEASURED, SEEN, UNJUDGED
from tests.stopwatch import unjudged

ROOT: Final = Path(__file__).parents[2]
WIDTH_MIN: Final = 150
SEEN_MAX: Final = 4
"""So many words of tests are shown in a row; the file of --faults-json has all."""

_TABLE: Final = pytest.StashKey["FaultTable"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-json", metavar="FILE", help="write the table of faults to FILE")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TABLE] = table = FaultTable(config)
    config.pluginmanager.register(table, "faults-of-agentd")


class FaultTable:
    """Keeps what the tests reported; one of them in each process of a run."""

    def __init__(self, config: pytest.Config) -> None:
        self.faults = rows((ROOT / "docs" / "faults.md").read_text(encoding="utf-8"), ROOT)
        self._runs: dict[str, Run] = {}
        self._is_worker = hasattr(config, "workerinput")
        asked_for_all = config.args_source is pytest.Config.ArgsSource.TESTPATHS
        self._is_whole = asked_for_all and not config.option.keyword
        self._json: str | None = config.getoption("--faults-json")

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leave the tests that carry the id of a fault."""
        chosen = [item for item in items if ids_of(item.name) & self.faults.keys()]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
        items[:] = chosen

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> pytest.TestReport | None:
        """Hand on what a test's times didn't tell; nothing else of the report is ours."""
        if call.when == "call":
            item.user_properties += [(UNJUDGED, words) for words in unjudged]
        unjudged.clear()
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        run = self._runs.setdefault(report.nodeid, Run.of(report.nodeid))
        run.seconds += report.duration
        if report.failed:
            run.outcome = "failed"
        elif report.skipped and run.outcome != "failed":
            run.outcome = "skipped"
            run.why = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else "")
        if report.when == "teardown":
            for name, value in report.user_properties:
                if name == MEASURED:
                    run.measures = dict(value)  # type: ignore[call-overload]
                elif name == SEEN:
                    run.seen.append(str(value))
                elif name == UNJUDGED:
                    run.unjudged.append(str(value))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._is_worker:
            return
        for run in self._runs.values():
            for fault in run.ids & self.faults.keys():
                self.faults[fault].runs.append(run)
        if self._unshown() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self._json:
            documents = [asdict(fault) | {"verdict": fault.verdict} for fault in self._listed()]
            text = json.dumps(documents, indent=1, default=sorted)
            Path(self._json).write_text(text, encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._is_worker and not terminalreporter.config.option.collectonly:
            terminalreporter.section("faults")
            width = shutil.get_terminal_size().columns
            terminalreporter.write(rendered(self._listed(), width))
            for fault in self._unshown():
                terminalreporter.write_line(f"{fault.id}: neither a test nor a reason", red=True)

    def _listed(self) -> list[Fault]:
        """All of the catalogue, or of a part of the tests those that were injected."""
        return [fault for fault in self.faults.values() if self._is_whole or fault.runs]

    def _unshown(self) -> list[Fault]:
        return [fault for fault in self._listed() if fault.verdict == "not shown"]


def rendered(faults: Iterable[Fault], width: int) -> str:
    """The table as text, at least `WIDTH_MIN` wide."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("id", no_wrap=True)
    table.add_column("injected", ratio=3)
    table.add_column("seen", ratio=6)
    for name in ("lag ms", "status ms", "files", "RSS MiB", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", ratio=2)
    for fault in faults:
        table.add_row(
            fault.id,
            fault.what,
            seen_of(fault),
            *figures_of(fault.runs),
            fault.verdict,
            end_section=True,
        )
    out = io.StringIO()
    Console(file=out, width=max(WIDTH_MIN, width), markup=False, highlight=False).print(table)
    return out.getvalue()


def seen_of(fault: Fault) -> str:
    """What tests noted, else their names, those against a real daemon first; else the remark."""
    noted = [words for run in fault.runs for words in run.seen]
    real = [words_of(run.name) for run in fault.runs if run.level == "faults"]
    told = list(dict.fromkeys(noted or real or [words_of(run.name) for run in fault.runs]))
    told = told or fault.guest or [fault.remark]
    more = len(fault.runs) - len(told[:SEEN_MAX])
    return "; ".join(told[:SEEN_MAX]) + (f" (+{more} tests)" if more > 0 else "")


def figures_of(runs: Sequence[Run]) -> list[str]:
    """The worst that the guard measured, and the time it took, in seconds."""
    guarded = [run.measures for run in runs if run.measures]

    def worst(name: str) -> str:
        found = [one[name] for one in guarded if one[name] is not None]
        return f"{max(found):.0f}" if found else ""

    def around(before: str, after: str, figure: str) -> str:
        both = [(one[before], one[after]) for one in guarded if one[after] is not None]
        if not both:
            return ""
        first, last = max(both, key=lambda pair: pair[1] - pair[0])
        return f"{first:{figure}} > {last:{figure}}"

    seconds = sum(run.seconds for run in runs)
    return [
        worst("lag_ms"),
        worst("status_ms"),
        around("files_before", "files_after", ".0f"),
        around("rss_before_mib", "rss_after_mib", ".1f"),
        f"{seconds:.1f}" if runs else "",
    ]

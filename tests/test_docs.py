"""The documents agree with the program, and with each other."""

import re
import runpy
from pathlib import Path

import pytest

from agentd.cli.agentd import COMMANDS as DAEMON_COMMANDS
from agentd.cli.main import ALIASES, COMMANDS
from agentd.config.event_names import EVENT_NAMES

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *(ROOT / "docs").rglob("*.md"),
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
]
# Commands that the configuration speaks of and that have no effect yet.
LATER = {"alerts"}
EVENT = r"[a-z]+\.[a-z_]+"
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)]*)?\)")
_INSTALLED = re.compile(r"pip install (?:-U |--upgrade )?['\"]?([a-z][a-z-]+)")
_CODE = re.compile(r"```(?:sh|console)?\n(.*?)```|`([^`\n]+)`", re.DOTALL)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def code_of(path: Path) -> str:
    return "\n".join(block or span for block, span in _CODE.findall(text_of(path)))


def words_after(program: str, path: Path) -> set[str]:
    """Return the first word after each mention of a program in the code of a document."""
    found = re.findall(
        rf"(?:^|[`;&|(]) *{program} ([a-z][a-z-]*)(?=[\s`)]|$)", code_of(path), re.MULTILINE
    )
    return set(found)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target, _ in _LINK.findall(text_of(path)):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name}: {target} doesn't exist"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_a_document_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    for program, known in (
        ("agentctl", {*COMMANDS, *ALIASES, *LATER}),
        ("agentd", set(DAEMON_COMMANDS)),
        ("make", targets),
    ):
        unknown = words_after(program, path) - known
        assert not unknown, f"{path.name}: {program} has no {sorted(unknown)}"


def test_what_is_generated_is_up_to_date() -> None:
    stale = runpy.run_path(str(ROOT / "docs" / "generate.py"))["stale"]()
    assert not stale, f"run `make docs`: {[str(path.relative_to(ROOT)) for path in stale]}"


def test_every_target_of_the_makefile_explains_itself() -> None:
    makefile = text_of(ROOT / "Makefile")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    for target in phony[1].split():
        assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE), (
            f"make {target} has no `## text`"
        )


def test_every_decision_is_short_and_says_what_would_change_it() -> None:
    for path in (ROOT / "docs" / "decisions").glob("*.md"):
        text = text_of(path)
        assert re.match(r"\d{4}-[a-z0-9-]+\.md", path.name)
        assert text.count("\n") <= 60, f"{path.name}: 10-30 lines, tables aside"
        for part in ("**Context.**", "**Decision.**", "**Cost.**", "change our mind"):
            assert part in text, f"{path.name} lacks {part}"


def test_every_fault_is_shown_or_says_why_not() -> None:
    rows = re.findall(
        r"^\| ([A-M]\d+) \| [^|]* \| ([^|]*) \| ([^|]*) \|$",
        text_of(ROOT / "docs" / "faults.md"),
        re.MULTILINE,
    )
    assert len(rows) > 100
    open_ones = [fault for fault, shown, remark in rows if not shown.strip() and not remark.strip()]
    assert not open_ones, "name a test after each of them, or write a remark"


def test_every_event_that_is_written_has_its_place_in_the_list_and_is_explained() -> None:
    written = {f"breaker.{name}" for name in ("opened", "half_open", "closed")}
    for path in (ROOT / "agentd").rglob("*.py"):
        text = text_of(path)
        written |= set(re.findall(rf'(?:journal|Record)\(\s*(?:event=)?"({EVENT})"', text))
        # In the core nothing else is called so; names of events also stand in tables there.
        if path.parent.name in ("core", "detectors"):
            written |= set(re.findall(rf'"({EVENT})"', text))
    assert {"agent.started", "daemon.fault", "config.applied", "memory.leak"} <= written
    assert written == EVENT_NAMES, sorted(written ^ EVENT_NAMES)
    explained = set(re.findall(rf"`({EVENT})`", text_of(ROOT / "docs" / "operations.md")))
    assert written <= explained, sorted(written - explained)


def test_what_is_installed_by_name_is_ours_or_known() -> None:
    """`agentd` alone is another package of the index."""
    places = [*DOCUMENTS, *(ROOT / "agentd").rglob("*.py")]
    found = [name for path in places for name in _INSTALLED.findall(text_of(path))]
    assert found
    assert {name for name in found if name.startswith("agentd")} == {"agentd-supervisor"}

"""docs/faults.md names every fault, and every test that it names exists."""

import re
from pathlib import Path

from tests.faults.catalogue import ROW

ROOT = Path(__file__).parents[1]

# The faults of the catalogue: ids are stable and not contiguous.
IDS = [
    "A1",
    "A2",
    "A3",
    "A5",
    "A6",
    "A8",
    "A9",
    "A10",
    "A13",
    "A14",
    "A16",
    "A19",
    "A20",
    "B1",
    "B2",
    "B3",
    "B6",
    "B7",
    "B9",
    "B10",
    "B11",
    "B14",
    "C1",
    "C2",
    "C4",
    "C5",
    "C7",
    "C9",
    "C10",
    "C11",
    "C13",
    "C15",
    "C16",
    "C17",
    "C18",
    "C21",
    "D1",
    "D3",
    "D5",
    "D7",
    "D9",
    "D10",
    "D12",
    "D13",
    "D14",
    "E1",
    "E2",
    "E3",
    "E4",
    "E7",
    "E8",
    "E9",
    "F1",
    "F2",
    "F3",
    "F5",
    "F7",
    "F8",
    "F9",
    "G1",
    "G2",
    "G3",
    "G5",
    "G6",
    "G8",
    "G9",
    "G12",
    "G14",
    "G15",
    "H1",
    "H2",
    "H3",
    "H4",
    "H5",
    "H7",
    "H9",
    "I1",
    "I2",
    "I3",
    "I6",
    "J1",
    "J3",
    "J4",
    "J5",
    "J6",
    "J8",
    "J10",
    "K1",
    "K3",
    "K5",
    "K6",
    "K7",
    "K8",
    "K9",
    "K11",
    "L1",
    "L3",
    "L4",
    "L6",
    "L7",
    "L8",
    "L11",
    "L12",
    "L14",
    "M1",
    "M3",
    "M4",
]


def rows() -> list[re.Match[str]]:
    return list(ROW.finditer((ROOT / "docs" / "faults.md").read_text(encoding="utf-8")))


def test_every_fault_of_the_catalogue_has_one_row() -> None:
    assert [row["id"] for row in rows()] == IDS


def test_every_test_and_file_that_is_named_exists() -> None:
    tests = ROOT / "tests"
    known = {
        name
        for path in tests.rglob("*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    }
    for row in rows():
        for word in re.findall(r"`([^`]+)`", row["shown"]):
            exists = word in known or (tests / word).is_file()
            assert exists, f"{row['id']} names {word}, which doesn't exist"


def test_every_fault_is_shown_or_says_when_it_will_be() -> None:
    for row in rows():
        assert row["what"].strip(), row["id"]
        assert row["shown"].strip() or row["remark"].strip(), f"{row['id']}: no test and no remark"

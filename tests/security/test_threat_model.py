"""docs/threat-model.md promises nothing that no test shows."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
DOCUMENT = TESTS.parent / "docs" / "threat-model.md"
_TEST = re.compile(r"`(test_[a-z0-9_]+)`")
_DEFINED = re.compile(r"^(?:async )?def (test_[a-z0-9_]+)\(", re.MULTILINE)


def test_every_claim_of_the_threat_model_names_a_test_that_exists() -> None:
    defined = {
        name for path in TESTS.rglob("test_*.py") for name in _DEFINED.findall(path.read_text())
    }
    named = _TEST.findall(DOCUMENT.read_text())
    assert len(named) > 50
    assert set(named) - defined == set()


def test_every_row_below_a_heading_of_claims_has_its_proof() -> None:
    for table in DOCUMENT.read_text().split("| claim | shown by |\n|---|---|\n")[1:]:
        for row in table.partition("\n\n")[0].splitlines():
            assert _TEST.search(row), row

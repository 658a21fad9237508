"""The report and the history of a simulated fortnight, as people read them.

`python bench/fortnight.py` plays two weeks of four agents through the real core into a real
store (tests/reporting/fortnight.py), three of them with a slow problem planted, and prints what
`agentctl report` and `agentctl history` show on the morning after. docs/history.md shows that.
"""

import sys
import tempfile
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from agentd.reporting.text import report_text
from agentd.reporting.timeline import timeline
from agentd.reporting.zones import zone_named
from tests.reporting.fortnight import DAYS, FIRST, ZONE, Fortnight
from tests.reporting.test_fortnight import planted_plans
from tests.store.desk import Desk


def main() -> None:
    """Play it and print."""
    zone = zone_named(ZONE)
    with tempfile.TemporaryDirectory(prefix="agentd-") as folder:
        Path(folder).chmod(0o700)
        desk = Desk(Path(folder))
        fortnight = Fortnight(desk, planted_plans())
        fortnight.play()
        print(report_text(fortnight.report(), zone))
        quiet = FIRST + timedelta(days=DAYS - 8)
        print(f"\n{report_text(fortnight.report(quiet), zone)}\n")
        print(timeline(fortnight.history(), zone, 80))
        desk.close()


if __name__ == "__main__":
    main()

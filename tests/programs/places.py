"""Where the programs under test are."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
AGENTS = Path(__file__).parent / "agents"
EXAMPLES = ROOT / "examples"
# Not resolved: the symlink is what makes it the virtual environment's.
BIN = Path(sys.executable).parent
AGENTCTL = BIN / "agentctl"
AGENTD = BIN / "agentd"

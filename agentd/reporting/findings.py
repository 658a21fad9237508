"""What a slow problem is: one that no single day shows."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One slow problem of one agent."""

    agent: str
    kind: str
    """tokens_drift, memory_drift, latency_rise, success_fall, restarts_same_time or budget_pace."""
    message: str
    """One sentence with the figures."""
    figure: float
    unit: str
    """What the figure counts, such as `% a day`."""

    def document(self) -> Mapping[str, object]:
        return {
            "agent": self.agent,
            "kind": self.kind,
            "message": self.message,
            "figure": self.figure,
            "unit": self.unit,
        }

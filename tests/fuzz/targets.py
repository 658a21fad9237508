"""Every target, by name."""

from typing import Final

from tests.fuzz import configs, kept, peers, traces, wire

TARGETS: Final = {
    target.name: target
    for target in (*wire.TARGETS, *configs.TARGETS, *traces.TARGETS, *kept.TARGETS, *peers.TARGETS)
}

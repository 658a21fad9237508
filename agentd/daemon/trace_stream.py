"""`agentctl events --trace`: what was recorded, streamed to an operator as a trace."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from agentd.core.select import select
from agentd.core.supervisor import Supervisor
from agentd.daemon.answers import BadArgument
from agentd.daemon.clock import wall_ms
from agentd.daemon.masks import Masks
from agentd.daemon.offload import Offload
from agentd.daemon.record_segments import SegmentsRefused
from agentd.daemon.record_traces import TraceLine, trace
from agentd.daemon.recorder import Recorder
from agentd.daemon.requests import Asked
from agentd.wire import replies
from agentd.wire.limits import LineId

# What is sent before the reader is waited for: a part of what an output buffer holds.
CHUNK_BYTES: Final = 64 << 10


@dataclass(slots=True)
class Traces:
    """Reads what the recorder has written, in threads."""

    supervisor: Supervisor
    recorder: Recorder
    offload: Offload
    masks: Masks

    async def asked(self, asked: Asked) -> Mapping[str, object]:
        """Stream a trace as `{"id","trace":{…}}` lines; return how many there were.

        Raises `SelectError`, `BadArgument`, `TooBusy`, and OSError where it can't be read.
        """
        args = asked.command.args
        if not asked.command.follow:
            raise BadArgument("a trace is streamed", 'send it with "follow":true')
        if not self.recorder.is_on:
            raise BadArgument("nothing is recorded", 'daemon.recorder_max = "64M" turns it on')
        if (args.get("since_ms") or 0) > wall_ms():
            raise BadArgument("since: that has not come yet")
        names = select(self.supervisor.agents, args.get("select") or ("all",))
        await self.recorder.flushed()
        lines = trace(
            self.recorder.state_dir, names, args.get("since_ms") or 0, wall_ms(), self.masks.text
        )
        sent = 0
        while not asked.asker.closed:
            raw, count = await self.offload.run(partial(_chunk, lines, asked.command.id))
            if not count:
                break
            sent += count
            asked.asker.send(raw)
            await asked.asker.drained()
        return {"lines": sent}


def _chunk(lines: Iterator[TraceLine], line_id: LineId | None) -> tuple[bytes, int]:
    """Return the next lines as they are streamed, and how many; none at the end."""
    raws: list[bytes] = []
    size = 0
    try:
        for line in lines:
            raws.append(replies.streamed(line_id, {"trace": line}))
            size += len(raws[-1])
            if size >= CHUNK_BYTES:
                break
    except SegmentsRefused as refused:
        raise BadArgument(str(refused)) from None
    return b"".join(raws), len(raws)

"""Calls to a model or a tool: an open one explains silence, one past its deadline is a stall."""

from __future__ import annotations

from time import monotonic

from agentd.sdk import fields, link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Final, Self

    from agentd.sdk.usage import Reading


def _attempt(value: object) -> str | None:
    found = fields.whole(value, 1_000_000)
    return str(found) if found else None


FORMS: Final[Mapping[str, Callable[[object], str | None]]] = {
    "op": fields.text,
    "provider": fields.text,
    "model": fields.text,
    "deadline_s": fields.seconds,
    "attempt": _attempt,
    "usage": fields.usage,
    "cost_usd": fields.dollars,
    "error": fields.text,
}
READINGS_MAX: Final = 64


class call:  # noqa: N801 - a keyword of the agent's text: `with agentd.call(…)`
    """An open call.

        with agentd.call("chat", provider="openai", model="gpt-x", deadline_s=600) as call:
            call.usage(llm(...))

    `deadline_s` is how long it may take at most; up to then an agent that waits in it is not
    silent. Of an exception only the name of its class is told.
    """

    def __init__(
        self,
        op: str | None = None,
        *surplus: object,
        provider: str | None = None,
        model: str | None = None,
        deadline_s: float | None = None,
        attempt: int | None = None,
        **others: object,
    ) -> None:
        self.id = ""
        """What its two lines are called by; empty while it isn't open."""
        self._said: dict[str, object] = {
            "op": op,
            "provider": provider,
            "model": model,
            "deadline_s": deadline_s,
            "attempt": attempt,
        }
        self._began = 0.0
        self._error: str | None = None
        self._cost_usd: float | None = None
        self._readings: dict[str, Reading] = {}
        if surplus or others:
            link.LINK.trouble("call: unknown arguments")

    def __enter__(self) -> Self:
        here = link.LINK
        self._began = monotonic()
        self._readings, self._error, self._cost_usd = {}, None, None
        if here.path is not None:
            self.id = f"c{here.pid:x}-{next(here.numbers)}"
            self._send("start", self._said)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.id:
            return
        name = self._error if kind is None else kind.__name__
        said: dict[str, object] = {"error": name, "cost_usd": self._cost_usd}
        said.update({key: self._said[key] for key in ("op", "provider", "model", "attempt")})
        if self._readings:
            said["usage"] = _sum(self._readings)
        took_ms = (monotonic() - self._began) * 1000
        ok = "true" if name is None else "false"
        self._send("end", said, f',"ok":{ok},"ms":{took_ms:.3f}')
        self.id = ""

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def usage(
        self,
        reply: object = None,
        *,
        cost_usd: float | None = None,
        model: str | None = None,
        **tokens: int | None,
    ) -> None:
        """Note what the call has used: a reply, its usage object, a mapping, or plain numbers.

        Replies of openai, anthropic and LangChain are understood, and the last chunk of a
        stream. Numbers go by the wire's names: `usage(input_tokens=900, output_tokens=80)`,
        where cached ones are part of `input_tokens`; one bare number is taken for input.
        Several replies add up; one that comes again, by its id, counts once.
        """
        here = link.LINK
        if here.path is None:
            return
        try:
            self._note(tokens if reply is None and tokens else reply)
            cost = None if cost_usd is None else fields.amount(cost_usd, fields.COST_USD_MAX)
            if cost is not None:
                self._cost_usd = (self._cost_usd or 0.0) + cost
            if model is not None:
                self._said["model"] = model
        except Exception as error:  # noqa: BLE001 - nothing is raised into the agent
            here.trouble(f"usage: {type(error).__name__}")

    def failed(self, error: str = "failed") -> None:
        """Say that the call failed without an exception; `error` names the kind of failure."""
        self._error = fields.words(error, fields.NAME_MAX) or "failed"

    def _note(self, reply: object) -> None:
        if reply is None:
            return
        from agentd.sdk import usage  # noqa: PLC0415 - not every call tells its usage

        found = usage.read(reply)
        if found is None:
            link.LINK.trouble("usage: nothing that is known as usage")
            return
        if found.continues and self._readings:
            key = next(reversed(self._readings))
        else:
            key = found.reply_id or f"#{len(self._readings)}"
        before = self._readings.get(key)
        if before is None and len(self._readings) >= READINGS_MAX:
            self._readings = {"": usage.Reading(_sum(self._readings))}
        self._readings[key] = found if before is None else usage.larger(before, found)
        if self._said["model"] is None:
            self._said["model"] = found.model

    def _send(self, phase: str, said: Mapping[str, object], ended: str = "") -> None:
        here = link.LINK
        try:
            text, wrong = fields.written(said, FORMS)
            if wrong:
                here.trouble(f"call:{wrong}")
            here.put(f'{{"type":"call","phase":"{phase}","call":"{self.id}"{ended}{text}}}')
        except Exception as error:  # noqa: BLE001 - nothing is raised into the agent
            here.trouble(f"call: {type(error).__name__}")


def _sum(readings: Mapping[str, Reading]) -> dict[str, int]:
    total: dict[str, int] = {}
    for reading in readings.values():
        for name, count in reading.tokens.items():
            total[name] = total.get(name, 0) + count
    return total

"""Steps of work, told as fingerprints: agentd sees that they repeat, and not what they say."""

from __future__ import annotations

from time import monotonic

from agentd.sdk import fields, link
from agentd.sdk.failures import EmptyResults, hidden
from agentd.sdk.fingerprints import Fingerprints, line_hashes
from agentd.sdk.rendering import rendered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Final, Self

FORMS: Final = {
    "step": fields.step,
    "tool": fields.text,
    "note": fields.text,
    "error": fields.text,
}
_EMPTY: Final = EmptyResults()


class step:  # noqa: N801 - a keyword of the agent's text: `with agentd.step(…)`
    """One step of the agent's work, told when it ends.

        with agentd.step("search", tool="web", args=query) as step:
            step.output(search(query))

    `args` and the output are hashed here and never leave the process. `poll=True` declares
    a step that repeats by design, such as looking at a queue; `may_be_empty=True` one whose
    empty result is no failure. `note` is a text for the judge, the only content that
    leaves, and only where it is given.
    """

    def __init__(
        self,
        name: str | float | None = None,
        *surplus: object,
        tool: str | None = None,
        args: object = None,
        poll: bool = False,
        may_be_empty: bool = False,
        note: str | None = None,
        **others: object,
    ) -> None:
        self.error: str | None = None
        """The kind of failure: "hidden:…" once an output tells of one."""
        self._name = name
        self._tool = tool if tool is not None else name
        self._args = args
        self._poll = poll is True
        self._may_be_empty = may_be_empty is True or self._poll
        self._note = note
        self._began = monotonic()
        self._outcome: Fingerprints | None = None
        if surplus or others:
            link.LINK.trouble("step: unknown arguments")

    def __enter__(self) -> Self:
        self._began = monotonic()
        self._outcome, self.error = None, None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        here = link.LINK
        if here.path is None:
            return
        took_ms = (monotonic() - self._began) * 1000
        if kind is not None:
            self.error = kind.__name__
        try:
            here.put(self._line(took_ms))
        except Exception as trouble:  # noqa: BLE001 - nothing is raised into the agent
            here.trouble(f"step: {type(trouble).__name__}")

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def output(self, result: object) -> None:
        """Note what came out, and see whether a failure hides in it.

        A result that says `isError` or `is_error`, that has a truthy `error`, a `status` or
        `status_code` of 400 or more, or that is empty as the one before it of the same tool
        was, makes the step a failure. Only the kind of failure is told.
        """
        here = link.LINK
        if here.path is None:
            return
        try:
            self._outcome = Fingerprints(rendered(result))
            kind = hidden(result)
            if kind is None and not self._may_be_empty and _EMPTY.again(str(self._tool), result):
                kind = "empty"
            if kind is not None:
                self.error = f"hidden:{kind}"
        except Exception as trouble:  # noqa: BLE001 - nothing is raised into the agent
            here.trouble(f"step.output: {type(trouble).__name__}")

    def failed(self, error: str = "failed") -> None:
        """Say that the step failed without an exception; `error` names the kind of failure."""
        self.error = fields.words(error, fields.NAME_MAX) or "failed"

    def _line(self, took_ms: float) -> str:
        given = Fingerprints(rendered(self._args))
        came = self._outcome
        said = {"step": self._name, "tool": self._tool, "note": self._note, "error": self.error}
        text, wrong = fields.written(said, FORMS)
        if wrong:
            link.LINK.trouble(f"step:{wrong}")
        out = ""
        if came is not None:
            out = f',"out_fp":"{came.raw}","out_nfp":"{came.normalised}","out_len":{came.length}'
        hashes = line_hashes(given) if came is None else line_hashes(given, came)
        lines = ",".join([f'"{line}"' for line in hashes])
        return (
            f'{{"type":"step"{text},"args_fp":"{given.raw}","args_nfp":"{given.normalised}"'
            f',"args_len":{given.length}{out},"lines":[{lines}]'
            f',"ok":{"true" if self.error is None else "false"}'
            f',"poll":{"true" if self._poll else "false"},"ms":{took_ms:.3f}}}'
        )

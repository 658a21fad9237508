"""Actions in the world outside: on disk before they begin, cleared when they have ended."""

from __future__ import annotations

from agentd.sdk import fields, link, questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Final, Self

    from agentd.sdk.questions import Question

DETAIL_BYTES_MAX: Final = 32 << 10


class action:  # noqa: N801 - a keyword of the agent's text: `with agentd.action(…)`
    """Something that can't be undone, between an intent on disk and its end.

        with agentd.action("stripe.refund", key="refund:918", idempotent=False) as act:
            refund()

    `key` names this very deed, the same over restarts; `idempotent` tells whether doing it
    twice does no harm. `acknowledged` is true once the intent is on disk; without a daemon
    the block runs all the same. An exception ends the action as not ok. What ends the process
    or the task (KeyboardInterrupt, SystemExit, a cancellation) leaves it unfinished, since
    nobody knows how far it came.
    """

    def __init__(
        self,
        name: str,
        key: str | None = None,
        *surplus: object,
        idempotent: bool = False,
        detail: object = None,
        timeout_s: float = questions.TIMEOUT_S,
        **others: object,
    ) -> None:
        self.acknowledged = False
        self._timeout_s = timeout_s
        self._key: str | None = None
        self._intent = ""
        here = link.LINK
        if surplus or others:
            here.trouble("action: unknown arguments")
        if here.path is None:
            return
        try:
            self._key = fields.name(name if key is None else key)
            asked = fields.name(name)
            if self._key is None or asked is None:
                here.trouble("action: a name and a key are texts")
                self._key = None
                return
            self._intent = (
                f'"type":"intent","key":{self._key},"action":{asked},'
                f'"idempotent":{"true" if idempotent is True else "false"}{_detail(detail)}'
            )
        except Exception as error:  # noqa: BLE001 - nothing is raised into the agent
            here.trouble(f"action: {type(error).__name__}")

    def __enter__(self) -> Self:
        question = self._question()
        if question is not None:
            self._heed(question.wait())
        return self

    async def __aenter__(self) -> Self:
        question = self._question()
        if question is not None:
            self._heed(await question.wait_async())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._key is None or (kind is not None and not issubclass(kind, Exception)):
            return
        try:
            ok = "true" if kind is None else "false"
            questions.tell(f'"type":"done","key":{self._key},"ok":{ok}')
        except Exception as trouble:  # noqa: BLE001 - nothing is raised into the agent
            link.LINK.trouble(f"action: {type(trouble).__name__}")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def _question(self) -> Question | None:
        self.acknowledged = False
        if self._key is None:
            return None
        try:
            return questions.Question(link.LINK, self._intent, self._timeout_s)
        except Exception as error:  # noqa: BLE001 - nothing is raised into the agent
            link.LINK.trouble(f"action: {type(error).__name__}")
            return None

    def _heed(self, reply: dict[str, Any] | None) -> None:
        self.acknowledged = questions.accepted(reply)


def _detail(detail: object) -> str:
    """Return `,"detail":…`; what JSON can't hold, or is too long, is left out and counted."""
    if detail is None:
        return ""
    import json  # noqa: PLC0415 - an agent without details doesn't need it

    try:
        text = json.dumps(detail, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        text = ""
    if not text or len(text.encode("utf-8", "replace")) > DETAIL_BYTES_MAX:
        link.LINK.trouble("action: a detail that is no JSON, or longer than 32 KiB")
        return ""
    return f',"detail":{text}'

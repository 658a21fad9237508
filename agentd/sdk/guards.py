"""Calls of a shared dependency: the host-wide breaker asked, retries spread out and bounded."""

from __future__ import annotations

import sys
from functools import wraps
from random import uniform
from time import sleep

from agentd.sdk import fields, link, questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Any, Final, Self, TypeVar

    from agentd.sdk.questions import Question

    F = TypeVar("F", bound=Callable[..., Any])

ATTEMPTS: Final = 4
BASE_S: Final = 0.5
CAP_S: Final = 30.0
EXPONENT_MAX: Final = 30
CO_COROUTINE: Final = 0x80
"""`inspect.CO_COROUTINE`, without importing `inspect`."""
# What a dependency answers to a request that is wrong, and will answer again: it works.
REFUSALS: Final = range(400, 500)
WORTH_ANOTHER_TRY: Final = frozenset({408, 409, 425, 429})


class BreakerOpen(Exception):  # noqa: N818 - the name that agents catch
    """The breaker of this dependency is open: it was not called."""

    def __init__(self, name: str, retry_in_s: float = 0.0) -> None:
        super().__init__(f"the breaker of {name} is open; it may be tried in {retry_in_s:g} s")
        self.name = name
        self.retry_in_s = retry_in_s


class Permit:
    """What the breaker said. Without a daemon everything is allowed."""

    def __init__(self, reply: dict[str, Any] | None) -> None:
        found = questions.result(reply) or {}
        self.allow = found.get("allow") is not False
        self.retry_allowed = found.get("retry_allowed") is not False
        self.retry_in_s = fields.amount(found.get("retry_in_s"), fields.SECONDS_MAX) or 0.0


class guarded:  # noqa: N801 - a keyword of the agent's text: `with agentd.guarded(…)`
    """Guard calls of one dependency, as a decorator or as a context manager.

        @agentd.guarded("openai", attempts=4)
        def ask(...): ...

        with agentd.guarded("openai"):
            ...

    Before each attempt the daemon is asked whether the dependency may be called; if not,
    `BreakerOpen` is raised. The decorator tries again after an exception of `retry_on`, as
    long as the retry budget of the host allows: after a random time of up to `base_s`
    doubled with each attempt, at most `cap_s`, or after the exception's own `retry_after`.
    One that is longer than `cap_s` is raised at once: see `agentd.parked`. The context
    manager is one attempt. An answer of 400 to 499 other than 408, 409, 425 and 429
    (`status_code` of the exception) shows that the dependency works, and isn't tried again.
    """

    def __init__(
        self,
        name: str,
        *surplus: object,
        attempts: int = ATTEMPTS,
        base_s: float = BASE_S,
        cap_s: float = CAP_S,
        retry_on: type[Exception] | tuple[type[Exception], ...] = Exception,
        timeout_s: float = questions.TIMEOUT_S,
        **others: object,
    ) -> None:
        self._name = said = fields.name(name)
        self.name = fields.words(name, fields.NAME_MAX) or ""
        tries = fields.whole(attempts)
        self._attempts = ATTEMPTS if tries is None else max(1, tries)
        self._base_s = fields.amount(base_s, fields.SECONDS_MAX) or 0.0
        self._cap_s = fields.amount(cap_s, fields.SECONDS_MAX) or 0.0
        self._retry_on = retry_on if _catchable(retry_on) else Exception
        self._timeout_s = timeout_s
        if surplus or others or said is None:
            link.LINK.trouble("guarded: wrong or unknown arguments")

    def __call__(self, function: F) -> F:
        guarded_by = self._around_coroutine if _is_coroutine(function) else self._around
        return guarded_by(function)  # type: ignore[return-value]  # `wraps` keeps what it is

    def __enter__(self) -> Self:
        self._enter(Permit(self._asked()))
        return self

    async def __aenter__(self) -> Self:
        self._enter(Permit(await self._asked_async()))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._tell(1, None)
        elif isinstance(error, Exception) and isinstance(error, self._retry_on):
            self._tell(1, error)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def _around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def attempted(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the function's own
            attempt, failure = 1, None
            while True:
                permit = Permit(self._asked())
                self._enter(permit, failure)
                try:
                    result = function(*args, **kwargs)
                except self._retry_on as error:
                    wait_s = self._failed(attempt, error, permit)
                    if wait_s is None:
                        raise
                    failure = error
                else:
                    self._tell(attempt, None)
                    return result
                sleep(wait_s)
                attempt += 1

        return attempted

    def _around_coroutine(
        self, function: Callable[..., Awaitable[Any]]
    ) -> Callable[..., Awaitable[Any]]:
        @wraps(function)
        async def attempted(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the function's own
            attempt, failure = 1, None
            while True:
                permit = Permit(await self._asked_async())
                self._enter(permit, failure)
                try:
                    result = await function(*args, **kwargs)
                except self._retry_on as error:
                    wait_s = self._failed(attempt, error, permit)
                    if wait_s is None:
                        raise
                    failure = error
                else:
                    self._tell(attempt, None)
                    return result
                await _sleep_async(wait_s)
                attempt += 1

        return attempted

    def _enter(self, permit: Permit, failure: Exception | None = None) -> None:
        """Raise if the dependency must not be called now; `failure`: of the attempt before."""
        if not permit.allow:
            raise BreakerOpen(self.name, permit.retry_in_s) from failure
        if failure is not None and not permit.retry_allowed:
            raise failure

    def _failed(self, attempt: int, error: Exception, permit: Permit) -> float | None:
        """Tell of a failed attempt; return in how many seconds to try again, None: not."""
        self._tell(attempt, error)
        if attempt >= self._attempts or not permit.retry_allowed or _is_refusal(error):
            return None
        after_s = retry_after_s(error)
        if after_s is not None and after_s > self._cap_s:
            return None
        ceiling_s = min(self._cap_s, self._base_s * 2 ** min(attempt - 1, EXPONENT_MAX))
        return max(after_s or 0.0, uniform(0, ceiling_s))  # noqa: S311 - spread, not secrecy

    def _tell(self, attempt: int, error: Exception | None) -> None:
        """Report the outcome of an attempt; a refusal is an answer of something that works."""
        here = link.LINK
        if here.path is None or self._name is None:
            return
        try:
            failed = error is not None and not _is_refusal(error)
            kind = f',"error":{fields.text(_kind(error))}' if error is not None and failed else ""
            ok = "false" if failed else "true"
            told = f'"name":{self._name},"ok":{ok},"attempt":{attempt}{kind}'
            here.put(f'{{"type":"breaker",{told}}}')
        except Exception as trouble:  # noqa: BLE001 - nothing is raised into the agent
            here.trouble(f"guarded: {type(trouble).__name__}")

    def _asked(self) -> dict[str, Any] | None:
        question = self._question()
        return None if question is None else question.wait()

    async def _asked_async(self) -> dict[str, Any] | None:
        question = self._question()
        return None if question is None else await question.wait_async()

    def _question(self) -> Question | None:
        here = link.LINK
        if here.path is None or self._name is None:
            return None
        asked = f'"type":"breaker.ask","name":{self._name}'
        return questions.Question(here, asked, self._timeout_s)


def retry_after_s(error: BaseException) -> float | None:
    """Return the seconds that an exception asks to wait: `retry_after`, or a header so named."""
    try:
        found = getattr(error, "retry_after", None)
        if found is None:
            headers = getattr(getattr(error, "response", None), "headers", None)
            found = None if headers is None else headers.get("retry-after")
        if isinstance(found, str):
            found = float(found)
        return fields.amount(found, fields.SECONDS_MAX)
    except Exception:  # noqa: BLE001 - a date, or someone else's object: nothing that is known
        return None


def _status_of(error: BaseException) -> int | None:
    try:
        found = getattr(error, "status_code", None)
    except Exception:  # noqa: BLE001 - a property of someone else's object
        return None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _is_refusal(error: BaseException) -> bool:
    status = _status_of(error)
    return status in REFUSALS and status not in WORTH_ANOTHER_TRY


def _kind(error: BaseException) -> str:
    status = _status_of(error)
    return type(error).__name__ if status is None else str(status)


def _catchable(kinds: object) -> bool:
    every = kinds if isinstance(kinds, tuple) else (kinds,)
    return all(isinstance(kind, type) and issubclass(kind, Exception) for kind in every)


def _is_coroutine(function: object) -> bool:
    """Tell whether calling it makes a coroutine: an async function, or an object of such a call."""
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None:
        call = type(function).__dict__.get("__call__")
        code = getattr(call, "__code__", None)
    return bool(getattr(code, "co_flags", 0) & CO_COROUTINE)


async def _sleep_async(seconds: float) -> None:
    """Sleep as asyncio does; under another kind of loop as a thread does."""
    asyncio = sys.modules.get("asyncio")
    try:
        if asyncio is not None and asyncio.get_running_loop() is not None:
            await asyncio.sleep(seconds)
            return
    except RuntimeError:
        pass  # another kind of loop
    sleep(seconds)  # noqa: ASYNC251 - nothing else is known that sleeps here

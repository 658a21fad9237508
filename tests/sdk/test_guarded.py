"""Guarded calls: the breaker asked, retries bounded, outcomes told."""

import asyncio
from types import SimpleNamespace

import openai
import pytest

import agentd
from agentd.sdk import guards
from tests.sdk.daemons import FakeDaemon, Line, granted


class Flaky:
    """Fails so many times, then works."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.left = failures
        self.error = error or ConnectionError("down")
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return "worked"

    async def later(self) -> str:
        await asyncio.sleep(0)
        return self()


def permit(**said: object) -> Line:
    return {"state": "closed", "allow": True, "retry_allowed": True, "retry_in_s": 0, **said}


def answering(*permits: Line) -> object:
    """Answer `breaker.ask` with each of these in turn, and then with the last."""
    left = list(permits)

    def answer(line: Line) -> Line | None:
        if line["type"] != "breaker.ask":
            return granted(line)
        return {"id": line["id"], "ok": True, "result": left.pop(0) if len(left) > 1 else left[0]}

    return answer


def outcomes(daemon: FakeDaemon, count: int) -> list[tuple[bool, int, object]]:
    lines = daemon.wait("breaker", count)
    return [(line["ok"], line["attempt"], line.get("error")) for line in lines]


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What retries would have slept, in seconds; they don't."""
    slept: list[float] = []

    async def nap(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(guards, "sleep", slept.append)
    monkeypatch.setattr(guards, "_sleep_async", nap)
    return slept


async def call(flaky: Flaky, *, is_async: bool, **options: object) -> str:
    """Call it under guard, as a function or as a coroutine."""
    guard = agentd.guarded("openai", **options)
    if is_async:
        return await guard(flaky.later)()
    return guard(flaky.__call__)()


both = pytest.mark.parametrize("is_async", [False, True])


@both
async def test_a_call_that_works_is_told(daemon: FakeDaemon, is_async: bool) -> None:
    assert await call(Flaky(0), is_async=is_async) == "worked"
    assert outcomes(daemon, 1) == [(True, 1, None)]
    assert daemon.of("breaker.ask")[0]["name"] == "openai"


@both
async def test_a_call_that_fails_is_tried_again(
    daemon: FakeDaemon, naps: list[float], is_async: bool
) -> None:
    flaky = Flaky(2)
    assert await call(flaky, is_async=is_async, base_s=1, cap_s=10) == "worked"
    assert flaky.calls == 3
    assert outcomes(daemon, 3) == [
        (False, 1, "ConnectionError"),
        (False, 2, "ConnectionError"),
        (True, 3, None),
    ]
    assert len(daemon.of("breaker.ask")) == 3
    assert 0 <= naps[0] <= 1
    assert 0 <= naps[1] <= 2


@both
async def test_the_last_failure_is_the_agent_s(
    daemon: FakeDaemon, naps: list[float], is_async: bool
) -> None:
    flaky = Flaky(9)
    with pytest.raises(ConnectionError, match="down"):
        await call(flaky, is_async=is_async, attempts=3)
    assert flaky.calls == 3
    assert len(naps) == 2
    assert len(outcomes(daemon, 3)) == 3


@both
async def test_an_open_breaker_is_not_called(daemon: FakeDaemon, is_async: bool) -> None:
    daemon.answer = answering(permit(state="open", allow=False, retry_in_s=12.5))
    flaky = Flaky(0)
    with pytest.raises(agentd.BreakerOpen, match="openai") as caught:
        await call(flaky, is_async=is_async)
    assert flaky.calls == 0
    assert (caught.value.name, caught.value.retry_in_s) == ("openai", 12.5)
    assert daemon.of("breaker") == []


@both
async def test_a_breaker_that_opens_between_two_attempts(
    daemon: FakeDaemon, naps: list[float], is_async: bool
) -> None:
    daemon.answer = answering(permit(), permit(state="open", allow=False))
    flaky = Flaky(9)
    with pytest.raises(agentd.BreakerOpen) as caught:
        await call(flaky, is_async=is_async)
    assert flaky.calls == len(naps) == 1
    assert isinstance(caught.value.__cause__, ConnectionError)


@both
@pytest.mark.parametrize(
    ("permits", "slept"),
    [((permit(retry_allowed=False),), 0), ((permit(), permit(retry_allowed=False)), 1)],
)
async def test_without_a_retry_left_on_this_host_the_failure_is_raised(
    daemon: FakeDaemon, naps: list[float], is_async: bool, permits: tuple[Line, ...], slept: int
) -> None:
    daemon.answer = answering(*permits)
    flaky = Flaky(9)
    with pytest.raises(ConnectionError):
        await call(flaky, is_async=is_async)
    assert flaky.calls == 1
    assert len(naps) == slept


@both
@pytest.mark.usefixtures("nobody")
async def test_without_a_daemon_it_retries_by_itself(naps: list[float], is_async: bool) -> None:
    assert await call(Flaky(3), is_async=is_async, attempts=4) == "worked"
    assert len(naps) == 3


class TooManyError(Exception):
    """What a provider's package raises."""

    def __init__(self, retry_after: object, status_code: int = 429) -> None:
        super().__init__("slow down")
        self.retry_after = retry_after
        self.status_code = status_code


async def test_the_provider_s_own_waiting_time_is_honoured(
    daemon: FakeDaemon, naps: list[float]
) -> None:
    assert await call(Flaky(1, TooManyError(7)), is_async=False, base_s=0.001) == "worked"
    assert naps == [7.0]
    assert outcomes(daemon, 2)[0] == (False, 1, "429")


async def test_the_waiting_time_of_a_response_s_header(naps: list[float]) -> None:
    error = ConnectionError()
    error.response = SimpleNamespace(headers={"retry-after": "3"})
    await call(Flaky(1, error), is_async=False, base_s=0.001)
    assert naps == [3.0]


@pytest.mark.parametrize("said", ["Wed, 21 Oct 2026 07:28:00 GMT", -1, float("nan"), object()])
async def test_a_waiting_time_that_is_none(naps: list[float], said: object) -> None:
    await call(Flaky(1, TooManyError(said)), is_async=False, base_s=0.001)
    assert len(naps) == 1
    assert naps[0] <= 0.001


async def test_a_long_waiting_time_is_the_agent_s_to_park(naps: list[float]) -> None:
    flaky = Flaky(1, TooManyError(31))
    with pytest.raises(TooManyError):
        await call(flaky, is_async=False, cap_s=30)
    assert naps == []


async def test_a_dependency_that_refuses_a_request_works(
    daemon: FakeDaemon, naps: list[float]
) -> None:
    request = openai.BadRequestError.__new__(openai.BadRequestError)
    request.status_code = 400
    with pytest.raises(openai.BadRequestError):
        await call(Flaky(1, request), is_async=False)
    assert outcomes(daemon, 1) == [(True, 1, None)]
    assert naps == []


async def test_only_what_was_said_is_tried_again(daemon: FakeDaemon, naps: list[float]) -> None:
    flaky = Flaky(1, ValueError("ours"))
    with pytest.raises(ValueError, match="ours"):
        await call(flaky, is_async=False, retry_on=(ConnectionError, TimeoutError))
    agentd.heartbeat()
    daemon.wait()
    assert daemon.of("breaker") == []
    assert naps == []


async def test_waits_grow_up_to_the_cap_and_are_spread(naps: list[float]) -> None:
    for _ in range(50):
        with pytest.raises(ConnectionError):
            await call(Flaky(9), is_async=False, attempts=6, base_s=1, cap_s=5)
    by_attempt = [sorted(naps[n::5]) for n in range(5)]
    for waits, ceiling_s in zip(by_attempt, (1, 2, 4, 5, 5), strict=True):
        assert waits[-1] <= ceiling_s
        assert waits[0] < 0.3 * ceiling_s  # full jitter: from nothing on
        assert waits[-1] > 0.7 * ceiling_s


async def test_as_a_context_manager_it_is_one_attempt(daemon: FakeDaemon) -> None:
    guard = agentd.guarded("openai")
    with guard:
        pass
    with pytest.raises(ConnectionError), guard:
        raise ConnectionError
    async with guard:
        pass
    with pytest.raises(ConnectionError):
        async with guard:
            raise ConnectionError
    assert (
        outcomes(daemon, 4)
        == [
            (True, 1, None),
            (False, 1, "ConnectionError"),
        ]
        * 2
    )
    daemon.answer = answering(permit(allow=False))
    with pytest.raises(agentd.BreakerOpen), guard:
        raise AssertionError
    with pytest.raises(agentd.BreakerOpen):
        async with guard:
            raise AssertionError


@pytest.mark.parametrize("end", [ValueError, KeyboardInterrupt, asyncio.CancelledError])
async def test_what_is_not_the_dependency_s_fault_is_not_told(
    daemon: FakeDaemon, end: type[BaseException]
) -> None:
    guard = agentd.guarded("openai", retry_on=ConnectionError)
    with pytest.raises(end), guard:
        raise end
    with pytest.raises(end):
        async with guard:
            raise end
    agentd.heartbeat()
    daemon.wait()
    assert daemon.of("breaker") == []


async def test_a_cancelled_call_is_neither_a_success_nor_a_failure(daemon: FakeDaemon) -> None:
    begun = asyncio.Event()

    @agentd.guarded("openai")
    async def hang() -> None:
        begun.set()
        await asyncio.sleep(60)

    hanging = asyncio.create_task(hang())
    await asyncio.wait_for(begun.wait(), 15)
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    agentd.heartbeat()
    daemon.wait()
    assert daemon.of("breaker") == []


def test_a_guarded_function_stays_itself() -> None:
    @agentd.guarded("openai")
    def ask(question: str, *, loud: bool = False) -> str:
        """Answer."""
        return f"{question}{loud}"

    assert (ask.__name__, ask.__doc__) == ("ask", "Answer.")
    assert ask("a", loud=True) == "aTrue"


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": "many", "base_s": -1, "cap_s": None, "retry_on": "all"},
        {"attempts": 0, "colour": "red"},
        {"timeout_s": object()},
    ],
)
def test_wrong_options_do_no_harm(daemon: FakeDaemon, options: dict[str, object]) -> None:
    assert agentd.guarded("openai", **options)(lambda: 1)() == 1
    assert agentd.guarded(None)(lambda: 2)() == 2
    assert daemon.of("breaker.ask")

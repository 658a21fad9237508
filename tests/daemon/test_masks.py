"""Secrets of the config in what agents say: hidden before anything is written down."""

from agentd.core.effects import Alert, Journal, Persist
from agentd.core.records import Durable, Record
from agentd.daemon.masks import Masks


def test_every_text_of_a_record_is_masked_and_nothing_else() -> None:
    masks = Masks()
    masks.hide({"hunter22", "hunter22-and-more"})
    data: dict[str, object] = {
        "said": "it is hunter22-and-more",
        "deep": {"list": ["hunter22", 7, None], "pair": ("x", "hunter22")},
    }
    record = Record("agent.ready", "info", "ready: hunter22!", agent="a", data=data)
    for effect in (Journal(record), Alert(record)):
        shown = masks.effect(effect)
        assert isinstance(shown, Journal | Alert)
        assert shown.record.message == "ready: ***!"
        assert shown.record.data == {
            "said": "it is ***",
            "deep": {"list": ["***", 7, None], "pair": ["x", "***"]},
        }
        assert shown.record.agent == "a"
    assert record.data is data
    other = Persist("a", Durable())
    assert masks.effect(other) is other


def test_without_secrets_nothing_is_touched() -> None:
    effect = Journal(Record("agent.ready", "info", "ready"))
    assert Masks().effect(effect) is effect

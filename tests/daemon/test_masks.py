"""Secrets of the config in what agents say: hidden before anything is written down."""

import json

from agentd.core.effects import Alert, Journal, Persist, PersistIncident, Reply, Run
from agentd.core.records import Action, Durable, IncidentRecord, LastExit, Record
from agentd.core.states import StopReason
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


def test_an_incident_is_handed_on_without_secrets_and_with_its_own_name() -> None:
    masks = Masks()
    masks.hide({"hunter22"})
    payload = {"agent": "hunter22", "evidence": "it said hunter22", "failures": 3}
    shown = masks.effect(Run("hunter22", {**payload, "unfinished": ["mail hunter22"]}))
    assert isinstance(shown, Run)
    assert shown.payload == {
        "agent": "hunter22",
        "evidence": "it said ***",
        "failures": 3,
        "unfinished": ["mail ***"],
    }


def test_an_incident_is_kept_and_told_without_secrets() -> None:
    masks = Masks()
    masks.hide({"hunter22"})
    said = "a failed: hunter22"
    incident = IncidentRecord(1, "k", "CRASHED", "warning", said, 0, 0, resolution="by hunter22")
    kept = masks.effect(PersistIncident(incident))
    assert isinstance(kept, PersistIncident)
    assert (kept.incident.summary, kept.incident.resolution) == ("a failed: ***", "by ***")
    told = masks.effect(Alert(Record("incident.resolved", "info", said), "resolve", incident))
    assert isinstance(told, Alert)
    assert told.incident == kept.incident
    assert (told.kind, told.record.message) == ("resolve", "a failed: ***")


def test_a_refusal_quotes_no_secrets_and_an_answer_is_given_as_it_is() -> None:
    masks = Masks()
    masks.hide({"hunter22"})
    refusal = masks.effect(Reply("r", error=("conflict", "is paused: hunter22", "do it")))
    assert refusal == Reply("r", error=("conflict", "is paused: ***", "do it"))
    answer = Reply("r", result={"key": "hunter22"})
    assert masks.effect(answer) is answer


def test_a_status_quotes_no_secrets() -> None:
    masks = Masks()
    masks.hide({"hunter22"})
    said = dict.fromkeys(("evidence", "task", "step", "goal", "held_why"), "a hunter22")
    agent = {
        "name": "hunter22",
        "pid": 7,
        **said,
        "last_exit": {"code": 1, "evidence": "hunter22!"},
        "transitions": [{"state": "paused", "why": "hunter22"}],
    }
    document = {"host": "h", "agents": [agent]}
    assert masks.status(document) == {
        "host": "h",
        "agents": [
            {
                "name": "hunter22",
                "pid": 7,
                **dict.fromkeys(said, "a ***"),
                "last_exit": {"code": 1, "evidence": "***!"},
                "transitions": [{"state": "paused", "why": "***"}],
            }
        ],
    }
    assert agent["goal"] == "a hunter22"


def test_without_secrets_nothing_is_touched() -> None:
    effect = Journal(Record("agent.ready", "info", "ready"))
    assert Masks().effect(effect) is effect
    document: dict[str, object] = {"agents": [{"evidence": "x"}]}
    assert Masks().status(document) is document


def test_a_value_is_hidden_however_an_exception_or_json_quotes_it() -> None:
    hidden = "a\"b'c\\d\n\u00e9"
    masks = Masks()
    masks.hide({hidden})
    told = [str(KeyError(hidden)), repr(ValueError(hidden)), repr([hidden])]
    told += [json.dumps([hidden]), json.dumps([hidden], ensure_ascii=False)]
    shown = ["'***'", "ValueError('***')", "['***']", '["***"]', '["***"]']
    assert [masks.text(text) for text in told] == shown


def test_of_what_was_cut_short_no_more_than_half_of_a_long_one_is_shown() -> None:
    masks = Masks()
    masks.hide({"sk-0123456789-abcdefghij", "hunter2222222", "short"})
    for length in range(25):
        told = f"it said {'sk-0123456789-abcdefghij'[:length]}) is down"
        wanted = "it said ***) is down" if length >= 12 else told
        assert masks.text(told) == wanted
    assert masks.text("sk-0123456789-x, sk-0123456789-abcdefghij") == "***x, ***"
    assert masks.text("hunter22222, hunter222222, hunter2222222") == "hunter22222, ***, ***"
    assert masks.text("shor short") == "shor ***"


def test_one_that_begins_as_a_longer_one_does_is_hidden_to_its_end() -> None:
    masks = Masks()
    masks.hide({"token-aaaa-bbbb-1", "token-aaaa-bbzz"})
    assert masks.text("token-aaaa-bbzz, token-aaaa-bbbb-1") == "***, ***"


def test_of_an_address_that_was_cut_short_the_host_is_shown_and_the_password_is_not() -> None:
    masks = Masks()
    masks.hide({"https://api.io/of-a-sink", "postgres://me:hunter22@db.internal/x"})
    assert masks.text("https://api.openai.com: 429") == "https://api.openai.com: 429"
    assert masks.text("https://api.io/of-b") == "https://api.io/of-b"
    assert masks.text("https://api.io/of-a- is down") == "*** is down"
    assert masks.text("postgres://me:hunter22@d is down") == "*** is down"


def test_the_record_that_is_kept_of_an_agent_quotes_no_secrets() -> None:
    masks = Masks()
    masks.hide({"hunter22"})
    action = Action("k", "pay", False, 7, 1, '{"with": "hunter22"}')
    durable = Durable(
        evidence="a hunter22",
        stop_evidence="b hunter22",
        held_why="c hunter22",
        intent_reason="d hunter22",
        last_exit=LastExit(StopReason.CRASHED, "e hunter22", 7, 1),
        unfinished=(action,),
    )
    kept = masks.effect(Persist("a", durable, lazy=True))
    assert isinstance(kept, Persist)
    assert kept.lazy
    shown = (kept.durable.evidence, kept.durable.stop_evidence, kept.durable.held_why)
    assert (*shown, kept.durable.intent_reason) == ("a ***", "b ***", "c ***", "d ***")
    assert kept.durable.last_exit == LastExit(StopReason.CRASHED, "e ***", 7, 1)
    assert kept.durable.unfinished == (action,)
    assert durable.evidence == "a hunter22", "the core's own stays as it is"
    only = masks.effect(Persist("a", Durable(last_exit=durable.last_exit)))
    assert isinstance(only, Persist)
    assert only.durable.last_exit == kept.durable.last_exit

"""Secrets of the config in what agents say: hidden before anything is written down."""

from agentd.core.effects import Alert, Journal, Persist, PersistIncident, Reply, Run
from agentd.core.records import Durable, IncidentRecord, Record
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

"""A research agent as a LangGraph graph, supervised by agentd.

One cycle is one run of the graph: the model and its search tool take turns, then a note is
published. What it has done is a checkpoint with agentd, so a restart goes on where it was.
OPENAI_BASE_URL names the provider; examples/stub_model.py is one for trying, with troubles.
TROUBLE=crash_in_action makes this agent die in the middle of its first publication.
"""

import os
import signal
import sys
import time
from itertools import count
from pathlib import Path
from zlib import crc32

import openai
from langchain_core.messages import SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, MessagesState, StateGraph

import agentd

MODEL = os.environ.get("MODEL", "stub-1")
CYCLES = int(os.environ.get("CYCLES", "0"))  # 0: for ever
PAUSE_S = float(os.environ.get("PAUSE_S", "1"))
CALL_DEADLINE_S = float(os.environ.get("CALL_DEADLINE_S", "60"))
STEPS_MAX = 60  # of the graph for one topic: a model may get lost
LEDGER = Path(os.environ.get("LEDGER", "state/published"))  # stands for the outside world
TROUBLE = os.environ.get("TROUBLE", "")
LEFT_OPEN = agentd.unfinished()  # what was in flight when the last incarnation died
WHO = ("A survey", "The museum", "One diary", "A court record", "The almanac", "Her letters")
SAYS = ("doubts", "confirms", "ignores", "praises", "dates", "measures", "mocks")
WHAT = ("the bridge", "the harvest", "an eclipse", "the flood", "a comet", "the treaty", "salt")


class Research(MessagesState):
    """What the graph carries from node to node: the messages, and what they are about."""

    topic: str


@tool
def search(query: str) -> str:
    """Search the archive."""
    found = crc32(query.encode())
    return f"{WHO[found % 6]} {SAYS[found // 6 % 7]} {WHAT[found // 42 % 7]}."


def think(state: Research):
    """Node: one call of the model; while it is open, agentd knows why we are silent."""
    messages = state["messages"]
    if (word := agentd.control()) and word["action"] == "steer":
        print(f"agentd says: {word['message']}", flush=True)
        messages = [*messages, SystemMessage(word["message"])]
    about = {"provider": "openai", "model": MODEL, "deadline_s": CALL_DEADLINE_S}
    with agentd.call("chat", **about) as call:
        reply = MODEL_WITH_TOOLS.invoke(messages)
        call.usage(reply)  # counted at once: a budget needs no heartbeat
    return {"messages": [reply]}


def use_tools(state: Research):
    """Node: each tool that was asked for is a step; only its fingerprints leave this process."""
    answers = []
    for wanted in state["messages"][-1].tool_calls:
        with agentd.step(wanted["name"], tool=wanted["name"], args=wanted["args"]) as step:
            found = search.invoke(wanted["args"])
            step.output(found)
        answers.append(ToolMessage(found, tool_call_id=wanted["id"]))
    return {"messages": answers}


def publish_note(state: Research):
    """Node: the one thing that others see, and that must not happen twice."""
    publish(f"note:{state['topic']}")


def publish(key):
    """Publish. agentd has it on disk before it happens, and strikes it out afterwards."""
    with agentd.action("archive.publish", key=key, idempotent=False):
        if TROUBLE == "crash_in_action" and not LEFT_OPEN:
            os.kill(os.getpid(), signal.SIGKILL)
        if not is_published(key):
            with LEDGER.open("a") as ledger:
                print(key, file=ledger)


def is_published(key):
    return LEDGER.exists() and key in LEDGER.read_text().splitlines()


def next_node(state: Research):
    return "use_tools" if state["messages"][-1].tool_calls else "publish_note"


def compiled():
    graph = StateGraph(Research)
    for node in (think, use_tools, publish_note):
        graph.add_node(node)
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", next_node, ["use_tools", "publish_note"])
    graph.add_edge("use_tools", "think")
    graph.add_edge("publish_note", END)
    return graph.compile()


def work(graph, topic):
    """One cycle. A topic that fails is lost; the share of them is shown by agentctl."""
    began = time.monotonic()
    question = {"topic": topic, "messages": [("user", f"Write on {topic}.")]}
    try:
        found = graph.invoke(question, {"recursion_limit": STEPS_MAX})
    except (openai.APIError, GraphRecursionError) as error:
        print(f"{topic}: {error}", file=sys.stderr, flush=True)
        agentd.heartbeat(status="error", task=topic, success=False)
    else:
        print(f"{topic}: {found['messages'][-1].content}", flush=True)
        took_ms = (time.monotonic() - began) * 1000
        agentd.heartbeat(task=topic, success=True, latency_ms=took_ms)


def main():
    # On SIGTERM the topic at hand is finished: no action is cut in two.
    signal.signal(signal.SIGTERM, lambda *_: agentd.shutting_down())
    agentd.heartbeat(status="ok")  # from here on agentd expects us
    agentd.goal("a published note on every topic")
    for action in LEFT_OPEN:
        # It died between intent and done: look before doing it again.
        print(f"unfinished: {action['key']}, done: {is_published(action['key'])}", flush=True)
        publish(action["key"])
    done = (agentd.restored() or {"done": 0})["done"]
    print(f"going on after topic-{done}", flush=True)
    graph = compiled()
    for number in range(done + 1, CYCLES + 1) if CYCLES else count(done + 1):
        if agentd.should_stop():
            break
        work(graph, f"topic-{number}")
        agentd.checkpoint({"done": number})
        time.sleep(PAUSE_S)
    agentd.heartbeat(status="done")


# Retries are ours to make, and agentd's to see.
MODEL_WITH_TOOLS = ChatOpenAI(model=MODEL, api_key="none", max_retries=0).bind_tools([search])

if __name__ == "__main__":
    main()

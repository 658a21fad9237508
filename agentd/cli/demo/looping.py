"""Asks the same question again and again; each answer is a success, and nothing comes of it."""

import time

import agentd

agentd.goal("find the cheapest flight to Oslo")
while True:
    with agentd.step("search", tool="web_search", args="cheapest flight Oslo") as step:
        time.sleep(1)
        step.output("3 results: try other dates, try other airports, try again later")
    agentd.heartbeat(status="working", task="flight-7")

"""What an agent says to agentd, and what it is told: the standard library and nothing else.

Import the names from `agentd` itself. Three rules hold for every file in here. Nothing raises
into the agent for a trouble of ours, and a wrong argument is one: it is left out and counted.
Nothing waits, but for what is durable, and that no longer than its own timeout. Nothing runs
by itself: no thread, no signal handler.

What is imported costs every agent its start, so that here `typing` is for the type checker
alone, and `re`, `json`, `socket` (which brings `enum` and `selectors`) and the like are
imported by those features only that can't do without.
"""

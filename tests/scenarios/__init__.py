"""Every option of cost, budgets, loops, the judge, pauses and breakers, as small stories.

One module a table of the config. Each `Scenario` is a config, a trace, and what agentd tells
of it, through the very simulation that `agentd simulate` runs: read them to learn an option,
copy them to try a policy.
"""

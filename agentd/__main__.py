"""`python -m agentd` is the script `agentd`, where another package has taken that name."""

from agentd.cli.agentd import main

if __name__ == "__main__":
    main()

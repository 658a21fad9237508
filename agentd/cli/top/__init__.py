"""The live view of `agentctl top`: state and keys are pure, the terminal and the socket thin."""

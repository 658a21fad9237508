"""What a command can fail with."""


class AgentdError(Exception):
    """The daemon refused or failed; `code` is one of CONTRACT 5.2, `hint` the next step or ""."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class NotReachable(AgentdError):  # noqa: N818 - reads as what it says: `except NotReachable`
    """Nobody listens on the socket, or the connection was lost and did not come back."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("not_reachable", message, hint)


class TimedOut(AgentdError):  # noqa: N818 - as above
    """No answer in time. Whether a write was carried out isn't known here, only to the daemon."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("timeout", message, hint)

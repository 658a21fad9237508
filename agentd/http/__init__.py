"""The dashboard, the HTTP API and the metrics: a process of its own beside the daemon.

It speaks to the daemon over a socket, as any client does; the daemon itself never listens on
TCP. Needs the extra `http` (starlette, uvicorn, prometheus-client).
"""

"""Works, then waits for ever in a TLS handshake: the peer has accepted, and stays silent.

No exit, no CPU, no error, and no timeout, because nobody has thought of one.
"""

import socket
import ssl
import time

import agentd

agentd.allow_stack_dump()  # agentd can see where it is stuck, without py-spy too
endpoint = socket.create_server(("127.0.0.1", 0))  # stands for a provider that has hung
for second in range(6):
    agentd.heartbeat(status="waiting_llm", task="summary-17", step=str(second), tool="chat")
    time.sleep(1)
print("calling the model", flush=True)
channel = socket.create_connection(endpoint.getsockname())
ssl.create_default_context().wrap_socket(channel, server_hostname="models.example")

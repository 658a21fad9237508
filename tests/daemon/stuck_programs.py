"""Programs that get stuck, and what a look at each says: with py-spy, and without.

Each prints that it is ready, and then waits in one particular way for ever.
"""

# A kernel without unix_diag doesn't tell the other end.
PAIR = r"(unix socket to its own fd \d+|unnamed unix socket)"
STUCK = {
    "recv": (
        """
        import socket
        ours, theirs = socket.socketpair()
        print("ready")
        ours.recv(1)
        """,
        rf"in recv \(api_client.py:5\), {PAIR}",
        rf"in recvfrom \(wait channel \w+\), {PAIR}",
    ),
    "lock": (
        """
        import threading
        lock = threading.Lock()
        def transfer():
            with lock:
                print("ready")
                with lock:
                    pass
        transfer()
        """,
        r"in a wait for a lock \(api_client.py:7\), CPU",
        r"in futex \(wait channel \w+\), CPU",
    ),
    "worker": (
        """
        import socket, threading
        ours, theirs = socket.socketpair()
        def work():
            print("ready")
            ours.recv(1)
        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
        """,
        rf"in recv \(api_client.py:6\), {PAIR}",
        rf"in recvfrom \(wait channel \w+\), {PAIR}",
    ),
    "poll": (
        """
        import select, socket
        ours, theirs = socket.socketpair()
        print("ready")
        select.select([ours], [], [])
        """,
        rf"in select \(api_client.py:5\), {PAIR}",
        rf"in (select|pselect6) \(wait channel [\w.]+\), {PAIR}",
    ),
}

"""Ports for servers that tests start."""

import socket
from random import SystemRandom

PORTS = range(12_000, 32_000)
"""Below the ports that a system gives to outgoing connections, which may take one at any moment."""


def free_port() -> int:
    """A port on loopback that nobody listens on right now. Drawn at random, so that test processes
    that look at the same moment hardly ever find the same."""
    random = SystemRandom()
    while True:
        port = random.choice(PORTS)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port

"""Free ports are free, busy ones are named."""

from __future__ import annotations

import socket

import pytest

from quorate.errors import ConfigError
from quorate.ops.ports import check_port_free, free_ports


def test_free_ports_can_be_listened_on() -> None:
    ports = free_ports(3)
    assert len(set(ports)) == 3
    for port in ports:
        check_port_free("127.0.0.1", port)


def test_a_busy_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            check_port_free("127.0.0.1", port)

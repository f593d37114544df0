"""What the benchmarks of the relay stand on: networks with delay, processes, clusters, and their goals."""

import os
import socket
import sys
import threading
import time

import pytest

from benchmarks.parts import relay, relay_storm
from benchmarks.relay.network import HUB_ADDRESS, network
from benchmarks.relay.processes import Processes
from benchmarks.report import Result
from benchmarks.workspace import workspace


@pytest.fixture
def networks():
    """Return what makes a network; skip where that is not permitted."""
    if sys.platform != "linux" or os.geteuid():
        pytest.skip("network namespaces need Linux and root")
    with workspace() as place:

        def make(round_trip_s):
            return network(round_trip_s, place.environment)

        try:
            with make(0):
                pass
        except RuntimeError as error:
            if "Operation not permitted" in str(error):
                pytest.skip(f"network namespaces need more than root: {error}")
            raise
        yield make


def echo_server(listener: socket.socket) -> None:
    def serve() -> None:
        one, _ = listener.accept()
        with one:
            while data := one.recv(1 << 16):
                one.sendall(data)

    threading.Thread(target=serve, daemon=True).start()


def carried(net, server, address: str, data: bytes) -> float:
    """Send from the first site to a server and back; return how long connecting took."""
    with server.entered(), socket.create_server((address, 0)) as listener:
        port = listener.getsockname()[1]
        echo_server(listener)
        began = time.monotonic()
        with net.sites[0].entered(), socket.create_connection((address, port), timeout=20) as one:
            took_s = time.monotonic() - began
            sender = threading.Thread(target=lambda: (one.sendall(data), one.shutdown(socket.SHUT_WR)))
            sender.start()
            got = b""
            while part := one.recv(1 << 16):
                got += part
            sender.join()
    assert got == data
    return took_s


@pytest.mark.parametrize("round_trip_s", [0, 0.05])
def test_a_network_carries_everything_and_takes_its_time(networks, round_trip_s):
    data = os.urandom(3 << 20)
    with networks(round_trip_s) as net:
        assert carried(net, net.hub, HUB_ADDRESS, data) >= round_trip_s
        assert carried(net, net.sites[1], net.site_address(1), data) >= 2 * round_trip_s


def test_a_network_leaves_nothing(networks):
    with networks(0.01) as net:
        names = [space.name for space in (net.hub, *net.sites)]
        assert {f"/run/netns/{name}" for name in names} <= {e.path for e in os.scandir("/run/netns")}
    assert not {e.name for e in os.scandir("/run/netns")} & set(names)


def test_a_process_that_ends_is_quoted_and_the_others_are_killed():
    with workspace() as place:
        processes = Processes(place)
        broken = processes.start("broken", [sys.executable, "-c", "raise SystemExit('no port')"], talks=True)
        with pytest.raises(RuntimeError, match="broken ended: no port"):
            processes.heard(broken, "broken")
        sleeper = processes.start(
            "sleeper", [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(600)"], talks=True
        )
        assert processes.heard(sleeper, "sleeper") == "1"
        processes.close()
        assert sleeper.returncode == -9


@pytest.mark.parametrize("relayed", [True, False])
def test_a_small_storm(relayed):
    pytest.importorskip("distributed")
    measured = relay_storm.storm(relay_storm.PROCESSES, relayed=relayed)
    assert set(measured) == ({relay_storm.COME, relay_storm.CPU, relay_storm.RSS} if relayed else {relay_storm.COME})


def test_goals_are_of_the_same_delay_and_one_that_is_missing_is_told():
    result = Result("relay", relay.UNITS)
    for delay_ms in relay.DELAYS_MS[:2]:
        for metric in (relay.RPC, relay.SUBMIT, relay.DIRECT, relay.SCHEDULER, relay.WORKERS):
            result.add(relay.case(True, delay_ms), {metric: 14.0 + delay_ms})
            result.add(relay.case(False, delay_ms), {metric: 10.0})
    relay.goals(result)
    goals = {goal.what: goal for goal in result.goals}
    assert goals[f"{relay.RPC}, 0 ms, of tls"].met
    assert not goals[f"{relay.RPC}, 20 ms, of tls"].met
    assert goals[f"{relay.DIRECT}, 20 ms, of tls"].met
    assert f"{relay.WORKERS}, 100 ms, of tls: not measured" in result.failures


def test_a_round_trip_is_called_often_enough_and_not_for_ever(monkeypatch):
    monkeypatch.setattr(relay, "CALLS_S", 0)
    calls = []
    relay.typical_ms(lambda: calls.append(1))
    assert len(calls) == 5
    monkeypatch.setattr(relay, "CALLS_S", 60)
    calls.clear()
    relay.typical_ms(lambda: calls.append(1))
    assert len(calls) == relay.CALLS

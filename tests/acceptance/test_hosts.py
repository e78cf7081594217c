"""Nine hosts in network namespaces, and what networks do to them. The long way is `make chaos`."""

import time
from contextlib import suppress
from socket import AF_INET, SOCK_DGRAM, socket

import pytest

from tests.chaos.hosts import site
from tests.chaos.invariants import lost_builds, violations
from tests.chaos.network import Network, are_namespaces_allowed
from tests.chaos.outages import Outages
from tests.conftest import HOMES

# Where nobody may make namespaces there is no such test, rather than one that is skipped.
if are_namespaces_allowed():

    @pytest.mark.timeout(600)
    def test_partitions_land_while_links_break_and_hosts_vanish() -> None:
        folder = HOMES / "hosts"
        folder.mkdir(mode=0o711)
        with site(folder, lambda _: None) as made:
            outages = Outages(made)
            outages.spoil("receiver-2", delay=0.2, loss=0.05)
            outages.spoil("postgres", loss=0.05)
            worker = outages.lose_busy_worker()
            made.network.vanish("receiver-1")
            outages.land(1)
            made.network.vanish("prefect")
            outages.land(1)
            outages.come_back("prefect", "receiver-1")
            outages.spoil("receiver-2", is_cut=True)
            outages.land(1)
            outages.mend("a receiver, a worker and Prefect gone, links slow, lossy and cut")
            outages.heal()
            assert violations(made) == []
            assert lost_builds(made), f"{worker} had a build"

    def test_what_a_link_does_to_packets() -> None:
        with Network(("here", "there"), seed=1) as network:
            with network.inside("here"):
                here = socket(AF_INET, SOCK_DGRAM)
                here.bind((network.address("here"), 0))
            with network.inside("there"):
                there = socket(AF_INET, SOCK_DGRAM)
                there.bind((network.address("there"), 0))
            with here, there:
                there.settimeout(5)

                def send(count: int) -> None:
                    for number in range(count):
                        here.sendto(b"%d" % number, there.getsockname())

                def received() -> int:
                    got = 0
                    there.settimeout(0.3)
                    with suppress(TimeoutError):
                        while there.recv(100):
                            got += 1
                    return got

                send(1)
                assert there.recv(100) == b"0"
                network.links["here"].delay = 0.2
                began = time.monotonic()
                send(1)
                assert there.recv(100) == b"0"
                assert time.monotonic() - began >= 0.2
                network.links["here"].heal()
                network.links["there"].loss = 0.5
                send(100)
                assert 20 < received() < 80
                network.links["there"].is_cut = True
                send(10)
                assert received() == 0
                network.links["there"].heal()
                send(1)
                assert received() == 1

"""Nine hosts in network namespaces, and what networks do to them. The long way is `make chaos`."""

import os
import sys
import time
from contextlib import suppress
from socket import AF_INET, SOCK_DGRAM, socket

import psycopg
import pytest

from tests.chaos.hosts import postgres_on, seen_from_afar, site
from tests.chaos.invariants import lost_builds, violations
from tests.chaos.network import Network, are_namespaces_allowed
from tests.chaos.outages import Outages
from tests.chaos.waiter import LEDGER_LOCK, WAREHOUSE_LOCK
from tests.support.checkout import PROJECT
from tests.support.servers import HOMES
from tests.support.waiting import until

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

    def test_a_host_that_vanishes_while_it_is_answered_lets_go_of_its_locks() -> None:
        """What is sent and never acknowledged keeps TCP from asking whether anybody is there."""
        locks = (LEDGER_LOCK, WAREHOUSE_LOCK)
        folder = HOMES / "vanishing"
        folder.mkdir(mode=0o711)
        with (
            Network(("postgres", "client")) as network,
            postgres_on(network, folder / "db") as postgres,
            network.inside("postgres"),
            psycopg.connect(postgres.home.database_url("ledger"), autocommit=True) as here,
        ):

            def others(*, granted: bool) -> set[int]:
                found = here.execute(
                    "select objid::int from pg_locks where locktype = 'advisory'"
                    " and granted = %s and pid <> pg_backend_pid()",
                    (granted,),
                )
                return {row[0] for row in found if row[0] in locks}

            for lock in locks:
                here.execute("select pg_advisory_lock(%s)", (lock,))
            url = seen_from_afar(network, postgres.home.database_url("ledger"))
            urls = {"QUICKSILVER_DATABASE_URL": url, "QUICKSILVER_WAREHOUSE_URL": url}
            waiter = [sys.executable, "-m", "tests.chaos.waiter"]
            network.spawn("client", waiter, os.environ | urls, folder / "waiter.log", PROJECT)
            until(lambda: len(others(granted=False)) == len(locks), "both waiters", within=180)
            network.vanish("client")
            here.execute("select pg_advisory_unlock_all()")
            assert others(granted=True) == set(locks)
            until(lambda: not others(granted=True), "the locks of a host that is gone", within=90)

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

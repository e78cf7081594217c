"""Links that are cut, slow and lossy, hosts that vanish: partitions keep landing all the while."""

from __future__ import annotations

import itertools
import statistics
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from threading import Timer

from tests.chaos.flood import Check
from tests.chaos.hosts import HOSTS, USER, WORKERS, Site, site
from tests.chaos.invariants import await_built, lost_builds, violations
from tests.chaos.network import are_namespaces_allowed
from tests.support.waiting import until

_DELAY = 0.2
_LOSS = 0.05
# Longer than any patience with an answer: what waits for one gives up before the link is back.
_SPOILT_FOR = 20.0
_MONTHS = [date(2024, month, 1) for month in range(1, 7)]


@dataclass
class Outages:
    """Spoils the site in one way after another; how long each took to be well again, in seconds."""

    site: Site
    recoveries: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        self._months = itertools.cycle(_MONTHS)

    def land(self, count: int = 2) -> None:
        """Put so many months, each with new content."""
        for _ in range(count):
            self.site.put_month(next(self._months))

    def mend(self, what: str) -> None:
        """Wait until everything put is in silver.

        Raises:
            StuckError: something is not.
        """
        self.recoveries[what] = await_built(self.site)
        self.site.say(f"{what}: well after {self.recoveries[what]:.1f} s")

    def cut(self, host: str) -> None:
        """Nothing goes to the host or comes from it for a while; then the link is back."""
        self._spoil(host, "cut", is_cut=True)

    def slow(self, host: str) -> None:
        """What the host sends comes 200 ms late, and 5 % of all frames, both ways, never."""
        self._spoil(host, "200 ms late, 5 % lost", delay=_DELAY, loss=_LOSS)

    def _spoil(self, host: str, how: str, **link: float | bool) -> None:
        self.land(1)
        self.spoil(host, **link)
        healing = Timer(_SPOILT_FOR, self.site.network.links[host].heal)
        healing.start()
        while healing.is_alive():
            # A lake that is cut off itself takes it only when it is back.
            self.land(1)
            healing.join(2)
        self.mend(f"{host} {how}")

    def spoil(self, host: str, **link: float | bool) -> None:
        """Change a host's link, until it is healed."""
        for name, value in link.items():
            setattr(self.site.network.links[host], name, value)

    def heal(self) -> None:
        """Every link is as good as new."""
        for link in self.site.network.links.values():
            link.heal()

    def lose(self, host: str) -> None:
        """The host vanishes; all is well without it, and when it is back."""
        self.land(1)
        self.site.network.vanish(host)
        self.land()
        self.mend(f"{host} vanished")
        self.come_back(host)

    def lose_busy_worker(self) -> str:
        """A worker vanishes in the middle of a build; which."""
        for _ in range(5):
            self.land()
            with suppress(AssertionError):
                (lost, *_) = until(self.site.busy_workers, "a run on a worker", every=0.02)
                self.site.network.vanish(lost)
                return lost
        raise TimeoutError("no worker ever had a run")

    def come_back(self, *hosts: str) -> None:
        """The power is back: what ran on the hosts starts anew."""
        for host in hosts:
            self.site.network.links[host].heal()
            self.site.start(host)
        for host in hosts:
            self.site.await_ready(host)


def run_hosts(say: Callable[[str], None], *, seed: int) -> list[Check]:
    """Every host's link cut, then slow and lossy; hosts that vanish; Prefect started anew."""
    if not are_namespaces_allowed():
        return [("several hosts", True, "NOT TRIED: this machine allows no network namespaces")]
    with tempfile.TemporaryDirectory(prefix="qs-hosts-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # Postgres runs as another account
        with site(folder, say, seed=seed) as made:
            outages = Outages(made)
            outages.land(6)
            outages.mend("nothing spoilt yet")
            for host in HOSTS:
                if host != USER:
                    outages.cut(host)
                    outages.slow(host)
            outages.lose("receiver-1")
            lost = outages.lose_busy_worker()
            outages.land()
            outages.mend(f"{lost} vanished during a build")
            outages.come_back(lost)
            outages.site.network.vanish("prefect")
            outages.land()
            outages.come_back("prefect")
            outages.mend("prefect killed and started anew")
            outages.lose(next(name for name in WORKERS if name != lost))
            found = violations(made)
            times = outages.recoveries.values()
            note = (
                f"{len(times)} outages, {sum(made.put.values())} objects put; recovery p50"
                f" {statistics.median(times):.1f} s, max {max(times):.1f} s;"
                f" builds given up: {len(lost_builds(made))}"
            )
            return [("several hosts", not found, "; ".join([note, *found]))]

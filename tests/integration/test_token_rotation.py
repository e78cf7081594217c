"""A token is changed as compose/README.md says, while events come in: none is refused or lost."""

import itertools
import threading
from contextlib import ExitStack

from quicksilver.stack.ports import choose_port
from tests.support.payloads import PREFIX, notification, record
from tests.support.serving import Client, Served, rows, serving
from tests.support.waiting import until


class Sender(threading.Thread):
    """Sends one event after the other, to whichever receiver answers, as behind the proxy."""

    def __init__(self, ports: list[int], token: str) -> None:
        super().__init__(name="sender")
        self._ports = ports
        self.token = token
        self.statuses: list[int] = []
        self._is_stopping = threading.Event()

    def run(self) -> None:
        for number in itertools.count():
            if self._is_stopping.is_set():
                return
            body = notification(record(f"{PREFIX}2024-01-01/{number}.parquet"))
            for port in itertools.cycle(self._ports):
                try:
                    answer = Client(port, self.token).post(body)
                except OSError:  # it is being replaced: the next one
                    continue
                self.statuses.append(answer.status)
                break

    def stop(self) -> None:
        self._is_stopping.set()
        self.join(30)


def test_a_token_is_changed_without_a_lost_event(ledger_url: str) -> None:
    old, new = "the-old-token", "the-new-token"
    ports = [choose_port(None), choose_port(None)]
    with ExitStack() as stack:
        running = [stack.enter_context(ExitStack()) for _ in ports]

        def serve(number: int, tokens: str) -> Served:
            running[number].close()
            made = serving(ledger_url, port=ports[number], webhook_tokens=tokens)
            return running[number].enter_context(made)

        def everywhere(tokens: str) -> None:
            for number in range(len(ports)):
                serve(number, tokens)
                seen = len(sender.statuses)
                until(lambda seen=seen: len(sender.statuses) > seen + 20, "events go on")

        for number in range(len(ports)):
            serve(number, old)
        sender = Sender(ports, old)
        sender.start()
        try:
            everywhere(f"{new},{old}")
            sender.token = new
            everywhere(new)
        finally:
            sender.stop()
        assert set(sender.statuses) == {200}
        assert Client(ports[0], old).post(b"").status == 401
    (found,) = rows(ledger_url, "select count(distinct key) as n from quicksilver.event")
    assert found["n"] == len(sender.statuses)

"""The receiver, over a real ledger: who may speak, what is kept, when it says so."""

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from quicksilver.errors import PayloadError
from quicksilver.web import events as receiver
from quicksilver.web import server as connections
from tests.support.payloads import PREFIX, notification, record
from tests.support.servers import Postgres
from tests.support.serving import (
    DURABLE_TOKEN,
    Answer,
    Client,
    Served,
    receive,
    serving,
)
from tests.support.waiting import until
from tests.support.wire import Wire

LIMIT = 64 * 1024


@pytest.fixture(scope="module")
def served(stack_postgres: Postgres, ledger_template: str) -> Iterator[Served]:
    """One receiver for the tests that only look at their own keys; impatient, small bodies."""
    url = stack_postgres.create_database("receiver", "ledger", ledger_template)
    with serving(url, body_limit=LIMIT, body_seconds=1, head_seconds=1) as running:
        yield running
    stack_postgres.drop_database("receiver")


def key_of(day: int, name: str = "data") -> str:
    """A key of a day that only one test uses."""
    return f"{PREFIX}2024-{1 + day // 28:02}-{1 + day % 28:02}/{name}.parquet"


def events(served: Served, key: str) -> list[dict[str, Any]]:
    return served.rows("select * from quicksilver.event where key = %s order by id", key)


def kept(served: Served) -> list[dict[str, Any]]:
    answer = served.client.operate("GET", "/api/quarantine")
    assert answer.status == 200
    return answer.json["quarantine"]


# Who may speak


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Bearer ", "wrong", "Basic d3Jvbmc6"])
def test_without_a_right_token_nothing_is_taken(served: Served, header: str) -> None:
    client = Client(served.client.port, source="127.0.0.2")
    key = key_of(1)
    answer = client.request(
        "POST",
        "/events/minio",
        json.dumps(notification(record(key))).encode(),
        Authorization=header,
    )
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert events(served, key) == []


def test_a_stranger_is_answered_before_the_body(served: Served) -> None:
    client = Client(served.client.port, "wrong", "127.0.0.2")
    answer = client.send(client.head(Content_Length=str(10**12)))
    assert answer.status == 401
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("token", [None, DURABLE_TOKEN])
def test_both_tokens_speak_while_they_rotate(served: Served, token: str | None) -> None:
    client = Client(served.client.port, token) if token else served.client
    assert client.post(b"").status == 200
    for method in ("GET", "HEAD"):
        assert client.request(method, "/events/minio").status == 200


def test_too_many_wrong_tokens_are_429_and_a_right_one_is_never_refused(served: Served) -> None:
    stranger = Client(served.client.port, "wrong", "127.0.0.9")
    answers = [stranger.post(b"") for _ in range(25)]
    assert [answer.status for answer in answers] == [401] * 20 + [429] * 5
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert stranger.request("GET", "/events/minio").status == 429
    assert Client(served.client.port, source="127.0.0.9").post(b"").status == 200
    assert Client(served.client.port, "wrong", "127.0.0.8").post(b"").status == 401


# What is kept


def test_an_event_is_recorded_once_on_both_lanes_and_when_retried(served: Served) -> None:
    key = key_of(2)
    body = notification(record(key))
    assert served.client.post(body, lane="fast").text == "settling"
    assert served.client.post(body, lane="durable").text == "duplicate"
    assert served.client.post(body, lane="durable").text == "duplicate"
    (event,) = events(served, key)
    assert event["deliveries"] == 3
    assert event["fast_at"]
    assert event["durable_at"]
    (partition,) = served.rows(
        "select generation, state from quicksilver.partition where dt = %s", event["partition"]
    )
    assert partition == {"generation": 1, "state": "pending"}


def test_the_same_event_at_the_same_moment_counts_once(served: Served) -> None:
    key = key_of(3)
    body = notification(record(key))

    def post(lane: str) -> Answer:
        return served.client.post(body, lane=lane)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, ["fast", "durable"] * 8))
    assert {answer.status for answer in answers} == {200}
    assert sorted(answer.text for answer in answers) == ["duplicate"] * 15 + ["settling"]
    assert events(served, key)[0]["deliveries"] == 16


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"hello", "not-json"),
        (b"\xff\xfe", "not-json"),
        (b"[]", "not-an-event"),
        (b'{"Records": 5}', "not-an-event"),
        (b'{"Records": [{}]}', "bad-record"),
    ],
)
def test_what_nobody_understands_is_quarantined_raw(
    served: Served, body: bytes, reason: str
) -> None:
    answer = served.client.post(body, lane="durable")
    assert (answer.status, answer.text) == (200, f"quarantined: {reason}")
    served.client.post(body)
    row = kept(served)[0]
    assert (row["reason"], row["lane"]) == (f"quarantined:{reason}", "durable")
    assert row["count"] == 2
    assert row["source"] == "127.0.0.1"
    assert row["size"] == len(body)
    (raw,) = served.rows("select body from quicksilver.quarantine where id = %s", row["id"])
    assert bytes(raw["body"]) == body


def test_a_bad_record_does_not_hide_its_neighbours(served: Served) -> None:
    key = key_of(4)
    answer = served.client.post(notification(record(None), record(key), record(7)))
    assert answer.text == "quarantined: bad-key"
    assert [event["reason"] for event in events(served, key)] == ["settling"]


@pytest.mark.parametrize(
    ("name", "key", "reason"),
    [
        ("s3:ObjectCreated:Put", "silver/elsewhere.parquet", "ignored:outside-datasets"),
        ("s3:ObjectCreated:Put", f"{PREFIX}2024-12-24/notes.txt", "ignored:other-file"),
        ("s3:ObjectRemoved:Delete", f"{PREFIX}2024-12-25/a.parquet", "ignored:delete"),
        ("s3:ObjectRemoved:DeleteMarkerCreated", f"{PREFIX}2024-12-25/b.parquet", "ignored:delete"),
        ("s3:ObjectCreated:PutTagging", f"{PREFIX}2024-12-25/c.parquet", "ignored:tagging"),
        (
            "s3:Replication:OperationCompletedReplication",
            f"{PREFIX}2024-12-25/d.parquet",
            "ignored:replication",
        ),
    ],
)
def test_what_means_no_build_is_2xx_counted_and_shown(
    served: Served, name: str, key: str, reason: str
) -> None:
    answer = served.client.post(notification(record(key, name=name)))
    assert (answer.status, answer.text) == (200, reason)
    assert [event["reason"] for event in events(served, key)] == [reason]
    dirty = served.rows(
        "select 1 from quicksilver.partition where dt in ('2024-12-24', '2024-12-25')"
        " and generation > 0"
    )
    assert dirty == []
    metrics = served.client.operate("GET", "/metrics").text
    assert f'outcome="{reason}"' in metrics


def test_a_body_is_replayed_after_a_fix(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    key = key_of(5)

    def not_yet(_: bytes) -> None:
        raise PayloadError("not-an-event")

    with monkeypatch.context() as before_the_fix:
        before_the_fix.setattr("quicksilver.intake.record.decode", not_yet)
        served.client.post(notification(record(key)))
        row = kept(served)[0]
        again = served.client.operate("POST", f"/api/quarantine/{row['id']}/replay").json
        assert again["outcome"] == "quarantined: not-an-event"
        assert kept(served)[0]["id"] == row["id"], "still not understood, it stays"
    assert events(served, key) == []
    replayed = served.client.operate("POST", f"/api/quarantine/{row['id']}/replay").json
    assert replayed["outcome"] == "settling"
    assert [event["reason"] for event in events(served, key)] == ["settling"]
    assert row["id"] not in [r["id"] for r in kept(served)]
    gone = served.client.operate("POST", f"/api/quarantine/{row['id']}/replay")
    assert gone.status == 404


def test_a_body_is_discarded(served: Served) -> None:
    served.client.post(b"to be discarded")
    row = kept(served)[0]
    assert served.client.operate("DELETE", f"/api/quarantine/{row['id']}").status == 200
    assert served.client.operate("DELETE", f"/api/quarantine/{row['id']}").status == 404


@pytest.mark.parametrize(
    ("bounds", "size", "remain"),
    [({"quarantine_limit": 3}, 10, 3), ({"quarantine_bytes": 4096}, 1500, 2)],
)
def test_quarantine_is_bounded_and_counts_what_it_drops(
    ledger_url: str, bounds: dict[str, Any], size: int, remain: int
) -> None:
    with serving(ledger_url, **bounds) as served:
        for number in range(6):
            assert served.client.post(b"%d" % number + b"x" * size).status == 200
        rows = served.rows("select body from quicksilver.quarantine order by id")
        assert [bytes(row["body"])[:1] for row in rows] == [b"3", b"4", b"5"][-remain:]
        (counter,) = served.rows(
            "select value from quicksilver.counter where name = 'quarantine_dropped'"
        )
        assert counter["value"] == 6 - remain


def test_what_the_ledger_itself_refuses_blocks_nobody(ledger_url: str) -> None:
    with psycopg.connect(ledger_url, autocommit=True) as connection:
        connection.execute(
            "alter table quicksilver.event add check (key not like '%poison%') not valid"
        )
    with serving(ledger_url) as served:
        poison, good = key_of(1, "poison"), key_of(1, "good")
        answer = served.client.post(notification(record(poison), record(good)))
        assert (answer.status, answer.text) == (200, "quarantined: refused-by-ledger")
        assert [event["reason"] for event in events(served, good)] == ["settling"]
        assert kept(served)[0]["reason"] == "quarantined:refused-by-ledger"
        found = served.client.operate("GET", f"/api/quarantine?key={quote(poison)}")
        assert [row["id"] for row in found.json["quarantine"]] == [kept(served)[0]["id"]]
        absent = served.client.operate("GET", f"/api/quarantine?key={quote(key_of(2))}")
        assert absent.json["quarantine"] == []


# When it says so


def slow_commits(url: str) -> None:
    """Every commit of an event waits for a lock that a test can hold."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "create function quicksilver.wait() returns trigger language plpgsql as"
            " $$ begin perform pg_advisory_xact_lock_shared(4711); return null; end $$"
        )
        connection.execute(
            "create constraint trigger slow after insert or update on quicksilver.event"
            " deferrable initially deferred for each row execute function quicksilver.wait()"
        )


_WAITING = "select pid from pg_locks where locktype = 'advisory' and objid = 4711 and not granted"


def test_nothing_is_said_before_the_commit(ledger_url: str) -> None:
    slow_commits(ledger_url)
    key = key_of(1)
    with (
        serving(ledger_url) as served,
        psycopg.connect(ledger_url, autocommit=True) as lock,
        ThreadPoolExecutor(1) as pool,
    ):
        lock.execute("select pg_advisory_lock(4711)")
        answer = pool.submit(served.client.post, notification(record(key)))
        until(lambda: served.rows(_WAITING), "the commit is under way")
        assert not answer.done()
        assert events(served, key) == []
        lock.execute("select pg_advisory_unlock(4711)")
        assert answer.result(30).text == "settling"
        assert len(events(served, key)) == 1


def test_killed_in_the_middle_of_the_commit_nothing_was_said(ledger_url: str) -> None:
    slow_commits(ledger_url)
    key = key_of(1)
    with (
        serving(ledger_url) as served,
        psycopg.connect(ledger_url, autocommit=True) as lock,
        ThreadPoolExecutor(1) as pool,
    ):
        lock.execute("select pg_advisory_lock(4711)")
        answer = pool.submit(served.client.post, notification(record(key)))
        until(lambda: served.rows(_WAITING), "the commit is under way")
        (backend,) = served.rows(_WAITING)
        lock.execute("select pg_terminate_backend(%s)", (backend["pid"],))
        refused = answer.result(30)
        assert (refused.status, refused.headers["retry-after"]) == (503, "3")
        assert events(served, key) == []
        lock.execute("select pg_advisory_unlock(4711)")
        assert served.client.post(notification(record(key))).text == "settling"


def test_a_ledger_that_hangs_is_not_waited_for(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_commits(ledger_url)
    monkeypatch.setattr(receiver, "_RECORD_SECONDS", 0.5)
    key = key_of(1)
    with (
        serving(ledger_url) as served,
        psycopg.connect(ledger_url, autocommit=True) as lock,
    ):
        lock.execute("select pg_advisory_lock(4711)")
        assert served.client.post(notification(record(key))).status == 503
        lock.execute("select pg_advisory_unlock(4711)")
        # Its fate was unknown: sent again it counts once.
        until(lambda: events(served, key), "the commit ends after all")
        assert served.client.post(notification(record(key))).text == "duplicate"
        assert len(events(served, key)) == 1


def test_a_ledger_that_is_away_is_503_until_it_is_back(ledger_url: str) -> None:
    wire, url = Wire.to_database(ledger_url)
    with wire, serving(url, asked_at=ledger_url) as served:
        assert served.client.post(notification(record(key_of(1)))).status == 200
        wire.cut()
        key = key_of(2)
        with ThreadPoolExecutor(8) as pool:
            bodies = [notification(record(key, sequencer=f"{n}")) for n in range(8)]
            answers = list(pool.map(served.client.post, bodies))
            junk = list(pool.map(served.client.post, [b"junk"] * 2))
        assert {answer.status for answer in answers + junk} == {503}
        assert {answer.headers["retry-after"] for answer in answers} == {"3"}
        assert served.client.request("GET", "/healthz").status == 200
        ready = served.client.request("GET", "/readyz")
        assert ready.status == 503
        assert "ledger" in ready.json["problems"]
        assert events(served, key) == []
        wire.mend()
        until(
            lambda: served.client.post(notification(record(key))).status == 200,
            "the receiver finds the ledger again, however long it was away",
            within=15,
        )
        assert len(events(served, key)) == 1


def test_a_ledger_without_its_tables_acknowledges_nothing(ledger_url: str) -> None:
    with serving(ledger_url) as served:
        with psycopg.connect(ledger_url, autocommit=True) as connection:
            connection.execute("alter schema quicksilver rename to moved")
            assert served.client.post(notification(record(key_of(1)))).status == 503
            assert served.client.post(b"junk").status == 503
            connection.execute("alter schema moved rename to quicksilver")
        assert served.client.post(notification(record(key_of(1)))).text == "settling"


# How it is said


def test_a_body_over_the_limit_is_refused_while_it_streams(served: Served) -> None:
    client = served.client
    sent = 0
    with client.connect() as connection:
        connection.sendall(client.head(Transfer_Encoding="chunked"))
        try:
            while sent < 64 * 1024 * 1024:
                connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                sent += 4096
        except OSError:
            pass
    assert sent < 32 * 1024 * 1024, "it went on reading"


def test_the_limit_itself_fits_and_one_more_does_not(served: Served) -> None:
    assert served.client.post(b"x" * LIMIT).text == "quarantined: not-json"
    assert served.client.post(b"x" * (LIMIT + 1)).status == 413
    in_chunks = served.client.request("POST", "/events/minio", iter([b"x" * 1000] * 66))
    assert in_chunks.status == 413


def test_a_declared_length_over_the_limit_is_refused_at_once(served: Served) -> None:
    client = served.client
    for length in (LIMIT + 1, 2**62):
        answer = client.send(client.head(Content_Length=str(length)))
        assert (answer.status, answer.headers["connection"]) == (413, "close")


def test_a_length_that_is_never_reached_ends(served: Served) -> None:
    client = served.client
    body = json.dumps(notification(record(key_of(6)))).encode()
    answer = client.send(client.head(Content_Length=str(len(body) + 10)), body)
    assert answer.status == 408
    assert events(served, key_of(6)) == []


def test_a_slow_body_ends(served: Served) -> None:
    client = served.client
    with client.connect() as connection:
        connection.sendall(client.head(Content_Length="1000"))
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.1):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert receive(connection).status == 408
        finally:
            stop.set()
            thread.join()


def test_a_sender_that_hangs_up_leaves_nothing(served: Served) -> None:
    client, key = served.client, key_of(7)
    body = json.dumps(notification(record(key))).encode()
    for cut in (0, 1, len(body) // 2, len(body) - 1):
        with client.connect() as connection:
            connection.sendall(client.head(Content_Length=str(len(body))) + body[:cut])
    assert client.post(body).text == "settling"
    assert events(served, key)[0]["deliveries"] == 1


def test_headers_that_never_end_are_refused(served: Served) -> None:
    client = served.client
    with client.connect() as connection:
        connection.sendall(client.head()[:-2] + b"X-Long: ")
        sent = 0
        try:
            while sent < 16 * 1024 * 1024:
                connection.sendall(b"x" * 4096)
                sent += 4096
        except OSError:
            pass
    assert sent < 8 * 1024 * 1024, "it went on reading"
    answer = client.send(client.head()[:-2] + b"X-Long: " + b"x" * 70_000)
    assert answer.status == 431


def test_headers_that_do_not_come_end(served: Served) -> None:
    with served.client.connect() as connection:
        assert receive(connection).status == 408
    with served.client.connect() as connection:
        connection.sendall(b"POST /events/minio HTTP/1.1\r\nHost: x\r\n")
        assert receive(connection).status == 408


def test_a_connection_is_used_again(served: Served) -> None:
    client = served.client
    bodies = [b"x" * LIMIT, b"", json.dumps(notification(record(key_of(8)))).encode()]
    with client.connect() as connection:
        for body in bodies * 3:
            connection.sendall(client.head(Content_Length=str(len(body))) + body)
            assert receive(connection).status == 200


def test_requests_in_one_packet_are_answered_in_order(served: Served) -> None:
    client = served.client
    one, two = (json.dumps(notification(record(key_of(day)))).encode() for day in (9, 10))
    with client.connect() as connection:
        connection.sendall(
            b"".join(client.head(Content_Length=str(len(body))) + body for body in (one, two))
        )
        with connection.makefile("rb") as stream:
            said = stream.read1(65536)
            while said.count(b"settling") < 2:
                said += stream.read1(65536)
    assert said.count(b"HTTP/1.1 200 OK") == 2


def test_connections_are_counted(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_CONNECTIONS", 5)
    with serving(ledger_url) as served:
        held = [served.client.connect() for _ in range(6)]
        try:
            until(lambda: served.client.post(b"").status == 503, "the service has too many")
        finally:
            for connection in held:
                connection.close()
        until(lambda: served.client.post(b"").status == 200, "the service takes events again")


def test_an_idle_connection_outlives_a_sender_s_patience(served: Served) -> None:
    """Go's clients close an idle connection after 15 s at most as MinIO sets it: we wait longer."""
    client = served.client
    with client.connect() as connection:
        connection.sendall(client.head(Content_Length="0"))
        assert receive(connection).status == 200
        connection.settimeout(1.5)
        with pytest.raises(socket.timeout):
            connection.recv(1)

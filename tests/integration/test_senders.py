"""Other senders on the same ledger: plain S3, EventBridge, Ceph, and SNS as moto speaks it."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from quicksilver.intake.pubsub import Pushes
from quicksilver.intake.sns import Topics
from quicksilver.ledger import Ledger
from quicksilver.operators.explain import explain
from quicksilver.stack.ports import LOOPBACK
from tests.support.receiver import BASIC, BEARER, serving
from tests.unit.test_pubsub import ACCOUNT, AUDIENCE, Google, token
from tests.unit.test_pubsub import KEY as GOOGLES
from tests.unit.test_sender_bodies import body
from tests.unit.test_sender_shapes import KEY, encoded, eventbridge, record
from tests.unit.test_sns import CERTIFICATE, TOPIC, Aws, message, signed


@pytest.fixture
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.mark.parametrize("header", [BEARER, BASIC], ids=["bearer", "basic"])
async def test_eventbridge_reaches_the_ledger(ledger_url: str, header: dict[str, str]) -> None:
    async with serving(ledger_url) as receiver:
        answer = await receiver.post("/events/s3", encoded(eventbridge()), **header)
        assert (answer.status_code, answer.text) == (200, "settling\n")
        again = await receiver.post("/events/s3", encoded(eventbridge()), **header)
        assert again.text == "duplicate\n"
    assert receiver.partition() == {"partition": "2024-01-01", "generation": 1, "state": "pending"}


async def test_azures_handshake_is_answered(ledger_url: str) -> None:
    async with serving(ledger_url) as receiver:
        answer = await receiver.post("/events/s3", body("azure_validation"), **BEARER)
        assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})
        refused = await receiver.post("/events/s3", body("azure_validation"))
        assert refused.status_code == 401
    assert receiver.events() == []


async def test_cloudevents_handshake_allows_the_origin_that_asks(ledger_url: str) -> None:
    async with serving(ledger_url) as receiver:
        asks = {"webhook-request-origin": "eventgrid.azure.net"}
        answer = await receiver.client.options("/events/s3", headers={**asks, **BEARER})
        assert answer.status_code == 200
        assert answer.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
        refused = await receiver.client.options("/events/s3", headers=asks)
        assert refused.status_code == 401
        assert "webhook-allowed-origin" not in refused.headers


async def test_pushes_of_pubsub_are_verified_and_durable(ledger_url: str) -> None:
    google = Google(GOOGLES)
    async with serving(ledger_url, pubsub_accounts=(ACCOUNT,), pubsub_audience=AUDIENCE) as told:
        told.app.state.pushes = Pushes([ACCOUNT], AUDIENCE, fetch=google)
        push = body("gcs_pubsub_push")
        assert (await told.post("/events/pubsub", push, **BEARER)).status_code == 403
        forged = {"authorization": f"Bearer {token(aud='https://somebody.example/')}"}
        assert (await told.post("/events/pubsub", push, **forged)).status_code == 403
        assert told.events() == []
        good = {"authorization": f"Bearer {token()}"}
        answer = await told.post("/events/pubsub", push, **good)
        assert (answer.status_code, answer.text) == (200, "settling\n")
        (event,) = told.events()
        assert event["durable_at"] is not None
        google.answer = b""
        told.app.state.pushes = Pushes([ACCOUNT], AUDIENCE, fetch=google)
        waits = await told.post("/events/pubsub", push, **good)
        assert (waits.status_code, waits.headers["retry-after"]) == (503, "20")
    async with serving(ledger_url) as receiver:
        assert (await receiver.post("/events/pubsub", push, **good)).status_code == 404


async def test_content_that_comes_back_is_news_though_nothing_is_numbered(ledger_url: str) -> None:
    async with serving(ledger_url) as receiver:
        for name in ("1", "2", "3"):
            told = body(f"overwrite_no_sequencer_{name}")
            answer = await receiver.post("/events/s3", told, **BEARER)
            assert answer.text == "settling\n", name
            # Sent again, it counts once.
            again = await receiver.post("/events/s3", told, **BEARER)
            assert again.text == "duplicate\n", name
    assert receiver.partition()["generation"] == 3
    (held,) = receiver.rows("select etag from quicksilver.object")
    assert held["etag"] == "a" * 32


async def test_explain_finds_both_spellings_of_a_key(ledger_url: str) -> None:
    key = KEY.replace("data", "a+b %41")
    told = record(eventSource="ceph:s3", object={"key": key})
    async with serving(ledger_url) as receiver:
        await receiver.post("/events/s3", encoded({"Records": [told]}), **BEARER)
        ledger: Ledger = receiver.app.state.ledger
        for spelling in (key, quote_plus(key), quote(key), quote_plus(key, safe="/")):
            found = await explain(ledger, None, f"s3://datasets/{spelling}")
            assert found["key"] == key
            assert len(found["events"]) == 1


async def test_ceph_and_plain_s3_reach_the_ledger(ledger_url: str) -> None:
    ceph = record(eventSource="ceph:s3", object={"key": KEY, "eTag": "first"})
    plain = record(object={"eTag": "second", "sequencer": "0062"})
    async with serving(ledger_url) as receiver:
        for sent in (ceph, plain):
            answer = await receiver.post("/events/s3", encoded({"Records": [sent]}), **BEARER)
            assert answer.text == "settling\n"
    assert receiver.partition()["generation"] == 2
    assert {event["key"] for event in receiver.events()} == {KEY}


async def test_an_unknown_sender_is_asked_for_a_password(ledger_url: str) -> None:
    async with serving(ledger_url) as receiver:
        for headers in ({}, {"authorization": "Basic !"}, {"authorization": "Bearer other"}):
            answer = await receiver.post("/events/s3", encoded(eventbridge()), **headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic")
    assert receiver.events() == []


async def test_what_nobody_understands_is_kept_and_can_be_replayed(ledger_url: str) -> None:
    async with serving(ledger_url) as receiver:
        body = encoded({**eventbridge(), "detail": None})
        answer = await receiver.post("/events/s3", body, **BEARER)
        assert (answer.status_code, answer.text) == (200, "quarantined: bad-record\n")
    (kept,) = receiver.rows("select body, reason from quicksilver.quarantine")
    assert (bytes(kept["body"]), kept["reason"]) == (body, "bad-record")


async def test_sns_is_not_listened_to_unless_told(ledger_url: str) -> None:
    async with serving(ledger_url) as receiver:
        answer = await receiver.post("/events/sns", signed(message()))
        assert answer.status_code == 404


async def test_sns_messages_are_verified_and_subscriptions_confirmed(ledger_url: str) -> None:
    aws = Aws()
    inner = json.dumps({"Records": [record()]})
    async with serving(ledger_url, sns_topics=TOPIC) as receiver:
        receiver.app.state.sns_topics = Topics([TOPIC], fetch=aws)
        confirmed = await receiver.post("/events/sns", signed(message("SubscriptionConfirmation")))
        assert (confirmed.status_code, confirmed.text) == (200, "confirmed\n")
        assert aws.asked == [CERTIFICATE, message("SubscriptionConfirmation")["SubscribeURL"]]
        forged = json.loads(signed(message(Message=inner))) | {"MessageId": "other"}
        assert (await receiver.post("/events/sns", encoded(forged))).status_code == 403
        assert receiver.events() == []
        told = await receiver.post("/events/sns", signed(message(Message=inner)))
        assert (told.status_code, told.text) == (200, "settling\n")
        test_event = '{"Service": "Amazon S3", "Event": "s3:TestEvent"}'
        tested = await receiver.post("/events/sns", signed(message(Message=test_event)))
        assert (tested.status_code, tested.text) == (200, "nothing to record\n")
    assert receiver.partition()["generation"] == 1


async def test_sns_waits_when_aws_does_not_answer(ledger_url: str) -> None:
    from quicksilver.intake.sns import SnsUnavailableError

    async def away(url: str) -> bytes:
        raise SnsUnavailableError("AWS does not answer")

    async with serving(ledger_url, sns_topics=TOPIC) as receiver:
        receiver.app.state.sns_topics = Topics([TOPIC], fetch=away)
        answer = await receiver.post("/events/sns", signed(message()))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "20")


async def test_a_put_to_moto_comes_through_its_topic(ledger_url: str, moto_url: str) -> None:
    """S3, topic and HTTP subscription as moto plays them; its messages carry real signatures."""
    topic = "arn:aws:sns:us-east-1:123456789012:bronze"

    async def from_moto(url: str) -> bytes:
        # AWS's address of the certificate, asked of moto: which finds the service by the header.
        address = httpx.URL(url)
        who = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sns/aws4_request"
        headers = {"host": address.host, "authorization": who}
        async with httpx.AsyncClient(trust_env=False) as client:
            found = await client.get(f"{moto_url}{address.path}", headers=headers)
        return found.raise_for_status().content

    def client(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=moto_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def put() -> None:
        sns, s3 = client("sns"), client("s3")
        assert sns.create_topic(Name="bronze")["TopicArn"] == topic
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=f"{receiver.url}/events/sns")
        s3.create_bucket(Bucket="datasets")
        rule = {"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}
        s3.put_bucket_notification_configuration(
            Bucket="datasets", NotificationConfiguration={"TopicConfigurations": [rule]}
        )
        s3.put_object(Bucket="datasets", Key=KEY, Body=b"first")
        s3.put_object(Bucket="datasets", Key=KEY, Body=b"second")

    async with serving(ledger_url, sns_topics=topic) as receiver:
        receiver.app.state.sns_topics = Topics([topic], fetch=from_moto)
        # moto posts before it answers the PUT.
        await asyncio.to_thread(put)
    assert receiver.partition() == {"partition": "2024-01-01", "generation": 2, "state": "pending"}
    assert [event["size"] for event in receiver.events()] == [5, 6]
    assert {event["event_name"] for event in receiver.events()} == {"ObjectCreated:Put"}


async def test_a_process_without_the_role_takes_no_events(ledger_url: str) -> None:
    async with serving(ledger_url, roles="dispatcher,sweep") as receiver:
        for path in ("/events/minio", "/events/s3", "/events/sns"):
            assert (await receiver.post(path, b"{}", **BEARER)).status_code == 404
        assert (await receiver.client.get("/healthz")).status_code == 200

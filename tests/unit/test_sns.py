"""SNS messages: believed only with a signature that holds, from the right place, on a right topic.

The certificates are made here; the addresses are AWS's own and are answered by a function.
"""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from quicksilver.errors import SettingsError
from quicksilver.intake.sns import SnsRefusedError, SnsUnavailableError, Topics
from quicksilver.settings import load_settings

TOPIC = "arn:aws:sns:eu-west-1:123456789012:bronze"
HOST = "https://sns.eu-west-1.amazonaws.com"
CERTIFICATE = f"{HOST}/SimpleNotificationService-{'0' * 32}.pem"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}


def certificate(key: rsa.RSAPrivateKey = KEY, days: int = 365) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def message(kind: str = "Notification", version: str = "2", **changes: Any) -> dict[str, str]:
    """A message as SNS sends it, before it is signed."""
    fields = {
        "Type": kind,
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "TopicArn": TOPIC,
        "Message": '{"Records": []}',
        "Timestamp": "2026-11-12T00:00:00.000Z",
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE,
    }
    if kind == "SubscriptionConfirmation":
        fields["Token"] = "2336412f37f"
        fields["SubscribeURL"] = (
            f"{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37f"
        )
    return fields | changes


def signed(fields: dict[str, str], key: rsa.RSAPrivateKey = KEY) -> bytes:
    lines = "".join(f"{n}\n{fields[n]}\n" for n in SIGNED[fields["Type"]] if n in fields)
    algorithm = hashes.SHA1() if fields["SignatureVersion"] == "1" else hashes.SHA256()
    signature = key.sign(lines.encode(), padding.PKCS1v15(), algorithm)
    return json.dumps({**fields, "Signature": base64.b64encode(signature).decode()}).encode()


class Aws:
    """Answers the addresses that were asked for."""

    def __init__(self, pem: bytes | None = None) -> None:
        self.pem = pem or certificate()
        self.asked: list[str] = []

    async def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        return self.pem if url.endswith(".pem") else b"<ConfirmSubscriptionResponse/>"


@pytest.mark.parametrize("version", ["1", "2"])
async def test_a_right_signature_is_believed(version: str) -> None:
    aws = Aws()
    topics = Topics([TOPIC], fetch=aws)
    for number in range(3):
        opened = await topics.open(signed(message(version=version, MessageId=str(number))))
        assert (opened.type, opened.topic) == ("Notification", TOPIC)
        assert opened.text == '{"Records": []}'
    assert aws.asked == [CERTIFICATE], "the certificate is kept"


async def test_the_subject_is_signed_where_there_is_one() -> None:
    topics = Topics([TOPIC], fetch=Aws())
    body = signed(message(Subject="Amazon S3 Notification"))
    assert (await topics.open(body)).text
    other = json.loads(body) | {"Subject": "changed"}
    with pytest.raises(SnsRefusedError, match="does not hold"):
        await topics.open(json.dumps(other).encode())


@pytest.mark.parametrize("field", ["Message", "MessageId", "Timestamp"])
async def test_a_changed_field_breaks_the_signature(field: str) -> None:
    body = json.dumps(json.loads(signed(message())) | {field: "changed"}).encode()
    with pytest.raises(SnsRefusedError, match="does not hold"):
        await Topics([TOPIC], fetch=Aws()).open(body)


async def test_another_key_is_not_believed() -> None:
    with pytest.raises(SnsRefusedError, match="does not hold"):
        await Topics([TOPIC], fetch=Aws()).open(signed(message(), OTHER_KEY))


async def test_the_versions_are_not_mixed_up() -> None:
    body = json.dumps(json.loads(signed(message())) | {"SignatureVersion": "1"}).encode()
    with pytest.raises(SnsRefusedError, match="does not hold"):
        await Topics([TOPIC], fetch=Aws()).open(body)


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-" + "0" * 32 + ".pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-" + "0" * 32 + ".pem",
        "https://evil.example/SimpleNotificationService-" + "0" * 32 + ".pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/x.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/x.pem",
        "https://user@sns.eu-west-1.amazonaws.com/SimpleNotificationService-" + "0" * 32 + ".pem",
        "https://sns.eu-west-1.amazonaws.com:444/SimpleNotificationService-" + "0" * 32 + ".pem",
        "https://sns.eu-west-1.amazonaws.com/other.pem",
        CERTIFICATE + "?x=1",
        "",
    ],
)
async def test_certificates_come_from_the_topics_own_region_alone(url: str) -> None:
    aws = Aws()
    with pytest.raises(SnsRefusedError, match="SigningCertURL"):
        await Topics([TOPIC], fetch=aws).open(signed(message(SigningCertURL=url)))
    assert aws.asked == []


async def test_a_foreign_topic_costs_no_fetch() -> None:
    aws = Aws()
    body = signed(message(TopicArn=TOPIC.replace("bronze", "mine")))
    with pytest.raises(SnsRefusedError, match="QUICKSILVER_SNS_TOPICS"):
        await Topics([TOPIC], fetch=aws).open(body)
    assert aws.asked == []


async def test_an_expired_certificate_is_not_believed() -> None:
    with pytest.raises(SnsRefusedError, match="expired"):
        await Topics([TOPIC], fetch=Aws(certificate(days=-1))).open(signed(message()))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"Type": "Notification"}',
        b'{"Type": ["Notification"]}',
        json.dumps(message(Type="Other")).encode(),
        json.dumps(message() | {"MessageId": "1\nTimestamp\n2"}).encode(),
        json.dumps(message(version="3") | {"Signature": "AA=="}).encode(),
        json.dumps(message() | {"Signature": "no base64!"}).encode(),
    ],
)
async def test_what_is_no_message_is_refused(body: bytes) -> None:
    aws = Aws()
    with pytest.raises(SnsRefusedError):
        await Topics([TOPIC], fetch=aws).open(body)
    assert aws.asked == []


async def test_a_subscription_is_confirmed_at_aws() -> None:
    aws = Aws()
    topics = Topics([TOPIC], fetch=aws)
    opened = await topics.open(signed(message("SubscriptionConfirmation")))
    await topics.confirm(opened)
    assert aws.asked == [CERTIFICATE, opened.subscribe_url]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/?Action=ConfirmSubscription&TopicArn=" + TOPIC,
        "http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + TOPIC,
        HOST + "/?Action=DeleteTopic&TopicArn=" + TOPIC,
        HOST + "/?Action=ConfirmSubscription&TopicArn=" + TOPIC + "x",
        HOST + "/?Action=ConfirmSubscription&Action=DeleteTopic&TopicArn=" + TOPIC,
        "http://169.254.169.254/latest/meta-data/",
    ],
)
async def test_a_confirmation_leads_nowhere_else(url: str) -> None:
    body = signed(message("SubscriptionConfirmation", SubscribeURL=url))
    with pytest.raises(SnsRefusedError, match="SubscribeURL"):
        await Topics([TOPIC], fetch=Aws()).open(body)


async def test_made_up_certificates_do_not_make_us_ask_without_end() -> None:
    aws = Aws()
    topics = Topics([TOPIC], fetch=aws)
    refused = 0
    for number in range(50):
        url = f"{HOST}/SimpleNotificationService-{number:032x}.pem"
        try:
            await topics.open(signed(message(SigningCertURL=url)))
        except SnsUnavailableError:
            refused += 1
    assert len(aws.asked) == 20
    assert refused == 30


async def test_a_known_certificate_waits_behind_no_unknown_one() -> None:
    begun, answer = asyncio.Event(), asyncio.Event()
    aws = Aws()

    async def slow(url: str) -> bytes:
        if url != CERTIFICATE:
            begun.set()
            await answer.wait()
        return await aws(url)

    topics = Topics([TOPIC], fetch=slow)
    await topics.open(signed(message()))
    other = f"{HOST}/SimpleNotificationService-{'1' * 32}.pem"
    unknown = asyncio.create_task(topics.open(signed(message(SigningCertURL=other))))
    await begun.wait()
    async with asyncio.timeout(10):
        assert (await topics.open(signed(message()))).topic == TOPIC
    assert not unknown.done()
    answer.set()
    assert (await unknown).topic == TOPIC


def test_topics_are_checked_at_start() -> None:
    with pytest.raises(SettingsError, match=r"QUICKSILVER_SNS_TOPICS: .*ARNs"):
        load_settings(sns_topics="arn:aws:s3:::bucket")
    assert load_settings(sns_topics=f"{TOPIC}, {TOPIC}2").sns_topics == (TOPIC, f"{TOPIC}2")

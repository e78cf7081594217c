"""Bodies of many senders, after their sources, documentation and bug reports: what each means."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from quicksilver.domain.arrival import arrivals
from quicksilver.domain.datasets import load_datasets
from quicksilver.domain.manifest import ListedObject
from quicksilver.domain.reasons import meaning_of
from quicksilver.errors import BronzeUnavailableError, PayloadError
from quicksilver.intake.decode import decode
from quicksilver.intake.listing import settle_open_questions
from quicksilver.lake.bronze import Bronze
from quicksilver.settings import load_settings
from quicksilver.support import clock
from tests.support.checkout import PROJECT

BODIES = Path(__file__).parent.parent / "bodies"
FOLDER = "bronze/nyc_tlc/yellow_tripdata/dt=2024-05-01"
KEY = f"{FOLDER}/part-0.parquet"
DATASETS = load_datasets(PROJECT / "datasets.yaml")


def body(name: str) -> bytes:
    (path,) = BODIES.glob(f"{name}.*")
    return path.read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        *("minio_put", "rustfs_now", "versitygw", "ceph_number_size", "eventbridge"),
        *("noobaa_mpu_no_size", "noobaa_mtime_etag", "no_size_no_etag", "sqs_envelope"),
        *("seaweedfs", "gcs_pubsub_push", "azure_blob_created", "r2_queue_message", "b2_events"),
        *("overwrite_no_sequencer_1", "overwrite_no_sequencer_2", "two_records_one_bad"),
    ],
)
def test_it_is_taken(name: str) -> None:
    (event,) = decode(body(name)).events
    assert (event.bucket, event.key) == ("datasets", KEY)
    (arrival,) = arrivals(event, DATASETS, "push", name, clock.now())
    assert (str(arrival.partition), arrival.ignored) == (
        "nyc_tlc.yellow_tripdata/2024-05-01",
        None,
    )


@pytest.mark.parametrize(
    ("name", "size", "etag", "version", "sequencer"),
    [
        ("seaweedfs", 10, None, None, None),
        ("gcs_pubsub_push", None, None, "1556835845511018", "1556835845511018"),
        ("azure_blob_created", 10, "0x8D4BCC2E4835CD0", None, "00000000000004420000000000028963"),
        ("r2_queue_message", 65536, "3858f62230ac3c915f300c664312c11f", None, None),
        ("b2_events", 10495842, None, "4_zaea8c5bc362ae55070130333_f117", None),
    ],
)
def test_a_shape_of_its_own(
    name: str, size: int | None, etag: str | None, version: str | None, sequencer: str | None
) -> None:
    (event,) = decode(body(name)).events
    assert (event.size, event.etag) == (size, etag)
    assert (event.version_id, event.sequencer) == (version, sequencer)
    assert event.ignored is None
    assert event.event_at is not None or name == "gcs_pubsub_push"


@pytest.mark.parametrize("name", ["aws_test", "versitygw_test", "b2_test"])
def test_a_test_message_says_nothing(name: str) -> None:
    found = decode(body(name))
    assert (found.events, found.problems, found.reply) == ((), (), None)


@pytest.mark.parametrize(
    ("name", "reason", "named"),
    [
        ("rustfs_multipart_empty_key", "bad-key:rustfs", "RustFS"),
        ("rustfs_snake_case", "not-an-event:rustfs", "RustFS"),
        ("sns_on_s3_path", "not-an-event:sns", "/events/sns"),
        ("argo_wrapped", "not-an-event:argo-events", "Argo Events"),
        ("noobaa_test_plain", "not-json", "not JSON"),
        ("two_records_one_bad", "bad-record", "its other records were taken"),
    ],
)
def test_its_reason_names_the_sender_and_what_to_do(name: str, reason: str, named: str) -> None:
    try:
        (found,) = decode(body(name)).problems
    except PayloadError as error:
        found = str(error)
    assert found == reason
    assert named in meaning_of(f"quarantined:{found}")


def test_a_sender_that_nobody_knows_is_named_as_it_calls_itself() -> None:
    record = {"eventSource": "zenko:s3", "eventName": "ObjectCreated:Put", "s3": {}}
    (reason,) = decode(orjson.dumps({"Records": [record]})).problems
    assert reason == "bad-bucket:zenko"
    assert "calls itself zenko" in meaning_of(reason)


def test_azure_is_answered_that_this_address_wants_its_events() -> None:
    reply = decode(body("azure_validation")).reply
    assert reply == b'{"validationResponse":"512d38b6"}'


def test_lifecycle_is_ignored() -> None:
    (event,) = decode(body("ceph_lifecycle")).events
    assert event.ignored == "lifecycle"


def test_encoded_twice_it_belongs_to_no_dataset() -> None:
    (event,) = decode(body("double_encoded_key")).events
    assert event.spelling is None
    (arrival,) = arrivals(event, DATASETS, "push", "test", clock.now())
    assert (arrival.partition, arrival.ignored) == (None, "outside-datasets")


def test_ceph_sends_keys_as_they_are() -> None:
    (event,) = decode(body("ceph_plus_in_key")).events
    assert (event.key, event.spelling) == (f"{FOLDER}/a+b.parquet", None)


class Folder(Bronze):
    """A listing of these keys, all with one etag; without any it does not answer."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys

    def find(self, bucket: str, key: str) -> ListedObject | None:
        if not self.keys:
            raise BronzeUnavailableError("bronze is away")
        return ListedObject(key, "listed", 7, clock.now()) if key in self.keys else None


PLUS, SPACE = f"{FOLDER}/a+b.parquet", f"{FOLDER}/a b.parquet"


@pytest.mark.parametrize(
    ("store", "bronze", "key"),
    [
        # LocalStack and Versity call themselves aws:s3 and do not encode, AWS does.
        ("other", Folder(PLUS), PLUS),
        ("other", Folder(SPACE), SPACE),
        ("other", Folder(), SPACE),
        ("other", None, SPACE),
        ("versity", Folder(), PLUS),
        ("aws", Folder(PLUS), SPACE),
    ],
)
async def test_the_sender_or_the_listing_decides_what_a_key_means(
    store: str, bronze: Folder | None, key: str
) -> None:
    events = decode(body("raw_plus_from_localstack")).events
    assert events[0].key == SPACE
    settings = load_settings(store=store)
    (event,) = await settle_open_questions(events, settings, DATASETS, bronze)
    assert event.key == key
    if bronze and store == "other" and key in bronze.keys:
        assert event.etag == "listed"


async def test_with_both_keys_there_the_etag_decides() -> None:
    (event,) = decode(body("raw_plus_from_localstack")).events

    class Both(Folder):
        def find(self, bucket: str, key: str) -> ListedObject | None:
            found = super().find(bucket, key)
            return found and replace(found, etag="plus" if key == PLUS else "space")

    for etag, key in (("plus", PLUS), ("space", SPACE)):
        (meant,) = await settle_open_questions(
            [replace(event, etag=etag)],
            load_settings(store="other"),
            DATASETS,
            Both(PLUS, SPACE),
        )
        assert meant.key == key


async def test_a_spelling_of_no_dataset_is_not_meant() -> None:
    (event,) = await settle_open_questions(
        decode(body("versitygw")).events, load_settings(store="versity"), DATASETS, Folder()
    )
    assert event.key == KEY

"""Where senders other than MinIO push: the same ledger, answered after the same commit."""

import base64
import binascii
from typing import Annotated

import structlog
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from quicksilver.intake.pubsub import Pushes, PushRefusedError, PushUnavailableError
from quicksilver.intake.sns import SnsRefusedError, SnsUnavailableError, Topics
from quicksilver.support.metrics import EVENTS
from quicksilver.web.access import SENDER_SCHEME
from quicksilver.web.events import answer, known_lane, receive_body, reject_unless_authorized
from quicksilver.web.tokens import bearer

_log = structlog.get_logger(__name__)

router = APIRouter(tags=["events"])

_ANSWERS: dict[int | str, dict[str, str]] = {
    200: {"description": "Durable: recorded, ignored or quarantined, as the text says"},
    400: {"description": "The sender hung up before the body was complete"},
    408: {"description": "The body did not arrive in time"},
    413: {"description": "The body is over the limit"},
    503: {"description": "Nothing was recorded, send again"},
}


def basic_password(header: str | None) -> str | None:
    """The password of an `Authorization: Basic …` header, for senders that support only this."""
    scheme, _, rest = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(rest, validate=True).decode().partition(":")[2] or None
    except (binascii.Error, ValueError):
        return None


@router.post(
    "/events/s3",
    summary="Take any notification of S3's shape, or EventBridge's",
    dependencies=[SENDER_SCHEME],
    responses={
        **_ANSWERS,
        401: {"description": "Missing or unknown token"},
        429: {"description": "Unknown token, too often from this address"},
    },
)
async def receive_s3(
    request: Request,
    lane: Annotated[
        str, Query(description="fast (sent once) or durable (sent until it is taken)")
    ] = "push",
) -> Response:
    """What Versity, Ceph, Event Grid, EventBridge, SNS with raw delivery and many more post.

    The token comes as `Authorization: Bearer <token>`, or as the password of `Basic`.
    """
    token = basic_password(request.headers.get("authorization"))
    # SNS sends a URL's user and password only after a 401 that asks for them.
    refused = reject_unless_authorized(request, token, 'Basic realm="quicksilver"')
    return refused or await receive_body(request, known_lane(lane))


@router.options("/events/s3", include_in_schema=False, dependencies=[SENDER_SCHEME])
async def allow_origin(request: Request) -> Response:
    """The handshake of CloudEvents, as Event Grid asks for it: may this origin post here?"""
    refused = reject_unless_authorized(
        request, basic_password(request.headers.get("authorization")), 'Basic realm="quicksilver"'
    )
    if refused is not None:
        return refused
    origin = request.headers.get("webhook-request-origin", "*")
    return answer(200, "ready", {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"})


@router.post(
    "/events/sns",
    summary="Take what Amazon SNS sends to an HTTP subscription",
    responses={
        **_ANSWERS,
        403: {"description": "Not signed by AWS for a topic of QUICKSILVER_SNS_TOPICS"},
        404: {"description": "No topic is configured"},
    },
)
async def receive_sns(request: Request) -> Response:
    """S3's notifications in signed messages of the allowed topics; subscriptions are confirmed."""
    topics = topics_of(request)
    if not topics:
        return answer(404, "QUICKSILVER_SNS_TOPICS is empty: messages of SNS are not taken")

    async def unwrap(body: bytes) -> bytes | Response:
        try:
            message = await topics.open(body)
            if message.type == "SubscriptionConfirmation":
                await topics.confirm(message)
                _log.info("subscription confirmed", topic=message.topic)
                return answer(200, "confirmed")
        except SnsRefusedError as error:
            EVENTS.labels("none", "none", "unauthorized").inc()
            return answer(403, str(error))
        except SnsUnavailableError as error:
            _log.warning("a message of SNS waits for AWS", error=str(error))
            return answer(503, str(error), {"Retry-After": "20"})
        if message.type == "UnsubscribeConfirmation":
            _log.warning("a subscription was ended", topic=message.topic)
            return answer(200, "noted")
        return message.text.encode()

    return await receive_body(request, "push", unwrap)


@router.post(
    "/events/pubsub",
    summary="Take what Google's Pub/Sub pushes",
    responses={
        **_ANSWERS,
        403: {"description": "Not signed by Google for an account of QUICKSILVER_PUBSUB_ACCOUNTS"},
        404: {"description": "No account is configured"},
    },
)
async def receive_pubsub(request: Request) -> Response:
    """Cloud Storage's notifications; Pub/Sub sends each until it is taken: a durable lane."""
    pushes = pushes_of(request)
    if not pushes:
        return answer(404, "QUICKSILVER_PUBSUB_ACCOUNTS is empty: pushes are not taken")
    try:
        await pushes.check(bearer(request.headers.get("authorization")))
    except PushRefusedError as error:
        EVENTS.labels("none", "none", "unauthorized").inc()
        return answer(403, str(error))
    except PushUnavailableError as error:
        _log.warning("a push waits for Google's keys", error=str(error))
        return answer(503, str(error), {"Retry-After": "20"})
    return await receive_body(request, "durable")


def pushes_of(request: Request) -> Pushes:
    """The application's accounts of Pub/Sub, made when the first push comes."""
    state = request.app.state
    if getattr(state, "pushes", None) is None:
        settings = state.settings
        audience = settings.pubsub_audience or f"{settings.url}/events/pubsub"
        state.pushes = Pushes(settings.pubsub_accounts, audience)
    pushes: Pushes = state.pushes
    return pushes


def topics_of(request: Request) -> Topics:
    """The application's topics, made when the first message comes."""
    state = request.app.state
    if getattr(state, "sns_topics", None) is None:
        state.sns_topics = Topics(state.settings.sns_topics)
    topics: Topics = state.sns_topics
    return topics

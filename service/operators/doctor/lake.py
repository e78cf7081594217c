"""The store, its lanes, the service, and a canary through all of them."""

import asyncio

import httpx

from quicksilver.errors import BronzeUnavailableError, QuicksilverError
from quicksilver.lake.bronze import minio_client
from quicksilver.lake.detect import contradiction
from quicksilver.lake.stores import store_of
from quicksilver.lake.targets import LANES, known_targets, minio_admin, target_arn
from quicksilver.operators.buckets import has_rules, try_to_list
from quicksilver.operators.doctor.check import ANSWER_WITHIN, BrokenError, Probe, first_line
from quicksilver.operators.doctor.defects import check_defects
from quicksilver.roles.canary import send_canary
from quicksilver.roles.lane_faults import find_fault, target_fault


async def check_store(probe: Probe) -> str:
    """MinIO has a health path; for other stores, any answer at the address will do."""
    url, title = probe.settings.minio_endpoint_url, store_of(probe.settings).title
    is_minio = probe.settings.store == "minio"
    try:
        async with httpx.AsyncClient(timeout=ANSWER_WITHIN) as client:
            answer = await client.get(f"{url}/minio/health/live" if is_minio else url)
        wrong = await asyncio.to_thread(contradiction, probe.settings.store, url)
    except httpx.HTTPError as error:
        raise BrokenError(
            f"{url} does not answer: {error}", f"start {title}, or correct MINIO_ENDPOINT_URL"
        ) from error
    if wrong:
        raise BrokenError(wrong, "correct the one or the other, for every part of Quicksilver")
    if is_minio and not answer.is_success:
        raise BrokenError(f"{answer.url} answers {answer.status_code}", "see MinIO's log")
    return "alive" if is_minio else f"{title} answers"


async def check_bucket(probe: Probe) -> str:
    client = minio_client(probe.settings, timeout=ANSWER_WITHIN)
    for dataset in probe.declared().datasets:
        unlisted = await try_to_list(probe.settings, client, dataset)
        if unlisted is not None:
            raise BrokenError(unlisted.found, unlisted.fix)
    return "there, and may be listed"


async def check_lanes(probe: Probe) -> str:
    if probe.settings.store != "minio":
        lanes = " and ".join(store_of(probe.settings).lanes)
        return f"the canary shows whether its {lanes} lane tells" if lanes else "by listing only"
    unknown: list[str] = []
    try:
        known = await asyncio.to_thread(known_targets, minio_admin(probe.settings))
        silent = [lane for lane, target in LANES.items() if target_arn(target) not in known]
        if silent:
            raise BrokenError(
                f"MinIO has no webhook target for: {', '.join(silent)}", "quicksilver init"
            )
    except BronzeUnavailableError:
        raise
    except QuicksilverError:
        unknown.append("targets")
    client = minio_client(probe.settings, timeout=ANSWER_WITHIN)
    for bucket in probe.buckets():
        told = await has_rules(client, bucket, probe.declared())
        if told is None:
            unknown.append(f"rules of {bucket}")
        elif not told:
            raise BrokenError(
                f"bucket {bucket} does not tell of what datasets.yaml declares", "quicksilver init"
            )
    if unknown:
        # A user with the least rights may not ask; the canary shows what matters.
        return f"these credentials may not read the {' and the '.join(unknown)}: the canary tells"
    return "both targets and all rules are in place"


async def check_service(probe: Probe) -> str:
    settings = probe.settings
    try:
        async with httpx.AsyncClient(base_url=settings.url, timeout=2 * ANSWER_WITHIN) as client:
            answers = [
                await client.get(
                    "/events/minio", headers={"Authorization": f"Bearer {token.get_secret_value()}"}
                )
                for token in settings.webhook_tokens
            ]
            ready = await client.get("/readyz")
    except httpx.HTTPError as error:
        raise BrokenError(
            f"{settings.url} does not answer: {first_line(error)}",
            "quicksilver serve, or set QUICKSILVER_URL",
        ) from error
    for place, answer in enumerate(answers, 1):
        if answer.status_code == 401:
            raise BrokenError(
                f"the service does not accept token {place} of this environment's"
                f" {len(answers)} webhook tokens",
                "give both the same QUICKSILVER_WEBHOOK_TOKENS and restart the service",
            )
        if not answer.is_success:
            raise BrokenError(
                f"{settings.url}/events/minio answers {answer.status_code}",
                "is QUICKSILVER_URL a service with the role receiver?",
            )
    if not ready.is_success:
        problems: dict[str, str] = ready.json().get("problems", {})
        raise BrokenError(
            "not ready: " + "; ".join(f"{name}: {why}" for name, why in problems.items()),
            "fix what it names, as the service sees it from its own host",
        )
    return "alive, ready, and accepts the tokens"


async def check_operators(probe: Probe) -> str:
    """Every token of this environment, as the command line and Prometheus would show it."""
    settings = probe.settings
    roles = {
        "QUICKSILVER_OPERATOR_TOKENS": (settings.operator_tokens, "/api/datasets"),
        "QUICKSILVER_VIEWER_TOKENS": (settings.viewer_tokens, "/api/datasets"),
        "QUICKSILVER_METRICS_TOKENS": (settings.metrics_tokens, "/metrics"),
    }
    count = 0
    async with httpx.AsyncClient(base_url=settings.url, timeout=2 * ANSWER_WITHIN) as client:
        for name, (tokens, path) in roles.items():
            for place, token in enumerate(tokens, 1):
                header = {"Authorization": f"Bearer {token.get_secret_value()}"}
                answer = await client.get(path, headers=header)
                count += 1
                if answer.status_code in (401, 403, 429):
                    raise BrokenError(
                        f"the service does not accept token {place} of this environment's {name}",
                        f"give both the same {name} and restart the service",
                    )
    return f"accepts {count} tokens" if count else "no token: whoever is on the service's host"


async def check_reach(probe: Probe) -> str:
    if probe.settings.store != "minio":
        return "the canary tells"
    for target in LANES.values():
        fault = await asyncio.to_thread(target_fault, probe.settings, target)
        if fault is not None:
            raise BrokenError(fault.text, "see the message")
    return "MinIO says nothing against it"


async def check_canary(probe: Probe) -> str:
    settings, ledger = probe.settings, probe.ledger
    if ledger is None:
        raise BrokenError("the ledger is not open", "see above")
    client = minio_client(settings, timeout=ANSWER_WITHIN)
    lanes = store_of(settings).lanes
    lags: list[str] = []
    for bucket in probe.buckets():
        seen = await send_canary(
            client, ledger, bucket, lanes=lanes or LANES, patience=probe.patience
        )
        silent = [lane for lane in lanes if getattr(seen, lane) is None]
        if silent:
            faults = [
                await find_fault(
                    settings,
                    ledger,
                    client,
                    bucket,
                    lane,
                    since=seen.put_at,
                    is_reached=len(silent) < len(lanes),
                )
                for lane in silent
            ]
            raise BrokenError(
                f"a canary in {bucket} did not arrive in {probe.patience:g} s by:"
                f" {', '.join(silent)}",
                "; ".join(dict.fromkeys(fault.text for fault in faults)),
            )
        if any(getattr(seen, lane) is not None for lane in LANES):
            await check_defects(probe, client, ledger, bucket)
        told = [f"{lane} {lag:.3f} s" for lane in LANES if (lag := getattr(seen, lane)) is not None]
        lags.append(f"{bucket}: {', '.join(told) or 'by listing only'}")
    return "; ".join(lags)

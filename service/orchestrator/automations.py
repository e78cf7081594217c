"""Prefect's automations as code: which messages go to which channel. Applied by `quicksilver init`.

Prefect does not force the names of automations to be unique: ours are found by name, the first
one is brought up to date, further ones are removed.
"""

from typing import Any
from uuid import UUID

from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.client.orchestration import PrefectClient
from prefect.events.actions import RunDeployment, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr

from quicksilver.errors import QuicksilverError
from quicksilver.settings import Settings

Actions = list[Any]

# Tags of the deployments in prefect.yaml: other runs are ignored.
_TAGS = ["prefect.tag.layer:bronze", "prefect.tag.layer:silver", "prefect.tag.layer:gold"]

_RUN_SUBJECT = "Quicksilver: {{ flow_run.name }} ended {{ flow_run.state.name }}"
_RUN_BODY = (
    "Run {{ flow_run.name }} of {{ flow.name }}"
    " (dataset {{ flow_run.parameters.dataset }}, partition {{ flow_run.parameters.dt }})"
    " ended {{ flow_run.state.name }}: {{ flow_run.state.message }}\n{{ flow_run|ui_url }}"
)
_PARTITION_SUBJECT = "Quicksilver: {{ event.payload.dataset }}/{{ event.payload.dt }} failed"
_PARTITION_BODY = (
    "Partition {{ event.payload.dataset }}/{{ event.payload.dt }} generation"
    " {{ event.payload.generation }} failed: {{ event.payload.reason }}\n{{ event.payload.link }}"
)
_QUARANTINE_SUBJECT = "Quicksilver: an event went to quarantine"
_QUARANTINE_BODY = (
    "An event of {{ event.payload.size }} bytes from {{ event.payload.source }} could not be"
    " parsed: {{ event.payload.reason }}\n{{ event.payload.link }}/quarantine"
)
_ALERT_SUBJECT = "Quicksilver: {{ event.payload.kind }} {{ event.payload.subject }}"
_ALERT_BODY = "{{ event.payload.reason }}\n{{ event.payload.link }}"


def _on(event: set[str], resource: str, related: dict[str, Any] | None = None) -> EventTrigger:
    return EventTrigger.model_validate(
        {
            "expect": event,
            "match": {"prefect.resource.id": resource},
            "match_related": related or {},
            # One message per resource: two partitions that fail are two messages.
            "for_each": {"prefect.resource.id"},
            "posture": Posture.Reactive,
            "threshold": 1,
        }
    )


def _run_trouble() -> EventTrigger:
    return _on(
        {"prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"},
        "prefect.flow-run.*",
        {"prefect.resource.role": "tag", "prefect.resource.id": _TAGS},
    )


def wanted(actions: "list[Channel]") -> list[AutomationCore]:
    """The automations that should be there for these channels; none without a channel."""
    told = {
        "quicksilver: a run failed": (_run_trouble(), _RUN_SUBJECT, _RUN_BODY),
        "quicksilver: a partition failed": (
            _on({"quicksilver.partition.failed"}, "quicksilver.partition.*"),
            _PARTITION_SUBJECT,
            _PARTITION_BODY,
        ),
        "quicksilver: an event was quarantined": (
            _on({"quicksilver.event.quarantined"}, "quicksilver.quarantine.*"),
            _QUARANTINE_SUBJECT,
            _QUARANTINE_BODY,
        ),
        "quicksilver: an alert was raised": (
            _on({"quicksilver.alert.raised"}, "quicksilver.alert.*"),
            _ALERT_SUBJECT,
            _ALERT_BODY,
        ),
    }
    return [
        AutomationCore(
            name=name,
            description="Made by `quicksilver init`; changes are overwritten by the next one.",
            enabled=bool(actions),
            tags=["quicksilver"],
            trigger=trigger,
            actions=[channel.action(subject, body) for channel in actions],
        )
        for name, (trigger, subject, body) in told.items()
    ]


class Channel:
    """A way to people: a notification block, or the deployment that sends e-mail."""

    def __init__(self, block: UUID | None = None, deployment: UUID | None = None) -> None:
        self._block = block
        self._deployment = deployment

    def action(self, subject: str, body: str) -> Any:
        """The automation's action that sends one message."""
        if self._block is not None:
            return SendNotification(block_document_id=self._block, subject=subject, body=body)
        return _run(self._deployment, {"subject": subject, "body": body})


def _run(deployment: UUID | None, templates: dict[str, str]) -> Any:
    return RunDeployment.model_validate(
        {
            "source": "selected",
            "deployment_id": deployment,
            "parameters": {name: _template(text) for name, text in templates.items()},
        }
    )


def _template(text: str) -> dict[str, str]:
    return {"__prefect_kind": "jinja", "template": text}


async def channels(client: PrefectClient, settings: Settings) -> list[Channel]:
    """The channels that the settings name, their blocks saved under `quicksilver-…`; none while the
    service itself tells people (QUICKSILVER_NOTIFY_BY)."""
    found: list[Channel] = []
    if settings.notify_by != "prefect":
        # The service sends alerts itself: with both, people would get each alert twice.
        return found
    slack = settings.notify_slack_url.get_secret_value()
    if slack:
        block = SlackWebhook(url=SecretStr(slack))  # pyright: ignore[reportCallIssue]
        found.append(Channel(block=await block.asave("quicksilver-slack", overwrite=True)))
    webhook = settings.notify_webhook_url.get_secret_value()
    if webhook:
        custom = CustomWebhookNotificationBlock(
            name="quicksilver",
            url=webhook,
            json_data={"subject": "{{subject}}", "body": "{{body}}"},
        )  # pyright: ignore[reportCallIssue]
        found.append(Channel(block=await custom.asave("quicksilver-webhook", overwrite=True)))
    if settings.notify_smtp_url.get_secret_value():
        found.append(Channel(deployment=await _deployed(client, "notify-by-email/smtp")))
    return found


async def _deployed(client: PrefectClient, name: str) -> UUID:
    """The id of a deployment that an automation fires.

    Raises:
        QuicksilverError: the project does not declare it.
    """
    try:
        return (await client.read_deployment_by_name(name)).id
    except ObjectNotFound as error:
        raise QuicksilverError(
            f"an automation fires the deployment {name}, which Prefect does not know: copy it from"
            " the prefect.yaml of `quicksilver new FOLDER --example nyc-tlc` into the project's"
        ) from error


async def apply(client: PrefectClient, automations: list[AutomationCore]) -> list[str]:
    """Bring Prefect's automations to these; what was done, in words. Idempotent."""
    lines: list[str] = []
    for automation in automations:
        present = await client.read_automations_by_name(automation.name)
        for extra in present[1:]:
            await client.delete_automation(extra.id)
        if not automation.actions:
            # Without a channel there is no recipient.
            for old in present[:1]:
                await client.delete_automation(old.id)
            continue
        if present:
            await client.update_automation(present[0].id, automation)
        else:
            await client.create_automation(automation)
        lines.append(f"automation {automation.name!r}: {'updated' if present else 'made'}")
    return lines


async def example(client: PrefectClient) -> AutomationCore:
    """A user's own automation: any deployment, fired for each partition that was built."""
    deployment = await _deployed(client, "partition-report/example")
    return AutomationCore(
        name="quicksilver example: report each built partition",
        description="Fires partition-report/example for every quicksilver.partition.built.",
        enabled=True,
        tags=["quicksilver", "example"],
        trigger=_on({"quicksilver.partition.built"}, "quicksilver.partition.*"),
        actions=[
            _run(
                deployment,
                {"dataset": "{{ event.payload.dataset }}", "dt": "{{ event.payload.dt }}"},
            )
        ],
    )

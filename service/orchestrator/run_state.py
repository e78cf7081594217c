"""Where a flow run stands, as Prefect tells it."""

from dataclasses import dataclass
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, StateType

# What Prefect says of a run that it cancelled itself, for a limit of the deployment.
_POLICY = "concurrency limit"

# Prefect's name for a scheduled run that waits for a free slot of its deployment.
_AWAITING_SLOT = "AwaitingConcurrencySlot"

_TERMINAL = {StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED}


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a flow run stands: Prefect's state type, its name and message."""

    type: str
    name: str
    message: str
    is_terminal: bool
    pool: str | None = None
    queue_id: UUID | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the flow's code may be running now."""
        return self.type in ("RUNNING", "CANCELLING", "PAUSED")

    @property
    def is_cancelled_by_policy(self) -> bool:
        """Whether Prefect cancelled it for a limit of its own, not a person."""
        return self.type == "CANCELLED" and _POLICY in self.message.lower()

    @property
    def is_awaiting_slot(self) -> bool:
        """Whether the limit of its deployment keeps it from starting."""
        return self.name == _AWAITING_SLOT


def state_of(run: FlowRun) -> RunState:
    """A run's state; one that has none yet is pending."""
    state = run.state
    kind = state.type if state else StateType.PENDING
    return RunState(
        kind.value,
        (state.name if state else None) or kind.value.title(),
        (state.message if state else None) or "",
        kind in _TERMINAL,
        run.work_pool_name,
        run.work_queue_id,
    )


def hold(is_paused: bool, limit: int | None, used: int | None) -> str | None:
    """Why a pool or queue lets no run begin; None when it does."""
    if is_paused:
        return "is paused: resume it in Prefect"
    if limit is not None and (limit == 0 or (used or 0) >= limit):
        return f"is full: {used or 0} of {limit} runs"
    return None

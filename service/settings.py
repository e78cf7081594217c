"""Settings: read from the environment (and `.env`), checked once, refused in one clear line."""

import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from quicksilver.errors import SettingsError
from quicksilver.support.project import DECLARATIONS, in_project, project_folder

Tokens = Annotated[tuple[SecretStr, ...], NoDecode]
Names = Annotated[tuple[str, ...], NoDecode]

# What one process can do of the service's work; several processes may share a role.
ROLES = ("receiver", "dispatcher", "sweep")
# The store of bronze: it decides how notifications are set up, how keys are encoded, and what
# `init` and `doctor` can do.
STORES = ("minio", "rustfs", "ceph", "aws", "versity", "other")
# An SNS topic: its AWS partition and region decide which host serves it.
TOPIC = re.compile(
    r"arn:(aws|aws-cn|aws-us-gov):sns:([a-z]{2}(?:-[a-z]+)+-\d):\d{12}:[\w-]{1,256}(?:\.fifo)?",
    re.ASCII,
)

_SIZE = re.compile(r"(\d{1,15})\s*([kmg]?b?)", re.ASCII | re.IGNORECASE)
_UNITS = {"": 1, "B": 1} | {
    unit + end: 1000**power for power, unit in enumerate("KMG", start=1) for end in ("", "B")
}


class Settings(BaseSettings):
    """Every setting of the service, the flows and the command line.

    The environment variable of a field is its alias; `.env.example` lists them all.
    Durations are seconds, sizes bytes. `.env` is the project's, and relative paths are taken from
    the project's folder, whatever the working directory.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        extra="ignore",
        env_ignore_empty=True,
        allow_inf_nan=False,
        # A default path is taken from the project too.
        validate_default=True,
    )

    # The lake
    minio_endpoint_url: str = Field("http://127.0.0.1:9000", alias="MINIO_ENDPOINT_URL")
    minio_access_key: str = Field("", alias="MINIO_ACCESS_KEY")
    minio_secret_key: SecretStr = Field(SecretStr(""), alias="MINIO_SECRET_KEY")
    store: str = Field("minio", alias="QUICKSILVER_STORE", pattern=f"^({'|'.join(STORES)})$")
    # The orchestrator
    prefect_api_url: str = Field("http://127.0.0.1:4200/api", alias="PREFECT_API_URL")
    prefect_auth_string: SecretStr = Field(SecretStr(""), alias="PREFECT_API_AUTH_STRING")
    pool: str = Field("default", alias="QUICKSILVER_POOL", min_length=1)
    prefect_ui_url: str = Field("", alias="QUICKSILVER_PREFECT_UI_URL", pattern="^(https?://.*)?$")
    # Prefect's blocks whose values the flows take instead of the environment's (flows/blocks.py)
    lake_block: str = Field("", alias="QUICKSILVER_LAKE_BLOCK", pattern="^[a-z0-9-]*$")
    warehouse_block: str = Field("", alias="QUICKSILVER_WAREHOUSE_BLOCK", pattern="^[a-z0-9-]*$")
    # The databases
    database_url: SecretStr = Field(SecretStr(""), alias="QUICKSILVER_DATABASE_URL")
    warehouse_url: SecretStr = Field(SecretStr(""), alias="QUICKSILVER_WAREHOUSE_URL")
    scratch_schema: str = Field(
        "quicksilver_build",
        alias="QUICKSILVER_SCRATCH_SCHEMA",
        pattern="^[a-z_][a-z0-9_]{0,62}$",
    )
    dbt_profiles_dir: Path = Field(Path("analytics"), alias="DBT_PROFILES_DIR")
    dbt_shortcuts: bool = Field(True, alias="QUICKSILVER_DBT_SHORTCUTS")
    dbt_pg_password: SecretStr = Field(SecretStr(""), alias="DBT_PG_PASSWORD")
    # The service
    url: str = Field("http://127.0.0.1:8420", alias="QUICKSILVER_URL")
    host: str = Field("127.0.0.1", alias="QUICKSILVER_HOST")
    port: int = Field(8420, alias="QUICKSILVER_PORT", ge=1, le=65535)
    webhook_tokens: Tokens = Field((), alias="QUICKSILVER_WEBHOOK_TOKENS")
    operator_tokens: Tokens = Field((), alias="QUICKSILVER_OPERATOR_TOKENS")
    # Tokens of users that may only read, and of scrapers that may only read the metrics.
    viewer_tokens: Tokens = Field((), alias="QUICKSILVER_VIEWER_TOKENS")
    metrics_tokens: Tokens = Field((), alias="QUICKSILVER_METRICS_TOKENS")
    sns_topics: Names = Field((), alias="QUICKSILVER_SNS_TOPICS")
    # Google's Pub/Sub: the accounts that may push, and the audience of their tokens.
    pubsub_accounts: Names = Field((), alias="QUICKSILVER_PUBSUB_ACCOUNTS")
    pubsub_audience: str = Field("", alias="QUICKSILVER_PUBSUB_AUDIENCE")
    tls_cert: Path | None = Field(None, alias="QUICKSILVER_TLS_CERT")
    tls_key: Path | None = Field(None, alias="QUICKSILVER_TLS_KEY")
    tls_client_ca: Path | None = Field(None, alias="QUICKSILVER_TLS_CLIENT_CA")
    trusted_proxies: Names = Field((), alias="QUICKSILVER_TRUSTED_PROXIES")
    roles: Names = Field(ROLES, alias="QUICKSILVER_ROLES")
    home: Path = Field(Path(".quicksilver"), alias="QUICKSILVER_HOME")
    datasets_file: Path = Field(Path(DECLARATIONS), alias="QUICKSILVER_DATASETS")
    tlc_source: str = Field("https://d37ci6vzurychx.cloudfront.net/trip-data", alias="TLC_SOURCE")
    log_format: str = Field("auto", alias="QUICKSILVER_LOG_FORMAT", pattern="^(auto|json|text)$")
    # Recipients of alerts, from the service itself or from Prefect's automations.
    notify_by: str = Field("service", alias="QUICKSILVER_NOTIFY_BY", pattern="^(service|prefect)$")
    notify_urls: SecretStr = Field(SecretStr(""), alias="QUICKSILVER_NOTIFY_URLS")
    heartbeat_url: SecretStr = Field(SecretStr(""), alias="QUICKSILVER_HEARTBEAT_URL")
    notify_slack_url: SecretStr = Field(SecretStr(""), alias="QUICKSILVER_NOTIFY_SLACK_URL")
    notify_webhook_url: SecretStr = Field(SecretStr(""), alias="QUICKSILVER_NOTIFY_WEBHOOK_URL")
    notify_smtp_url: SecretStr = Field(SecretStr(""), alias="QUICKSILVER_NOTIFY_SMTP_URL")
    notify_email_to: str = Field("", alias="QUICKSILVER_NOTIFY_EMAIL_TO")
    notify_email_from: str = Field("", alias="QUICKSILVER_NOTIFY_EMAIL_FROM")
    # Limits and rhythms
    body_limit: int = Field(1_048_576, alias="QUICKSILVER_BODY_LIMIT", ge=1024)
    body_seconds: float = Field(20.0, alias="QUICKSILVER_BODY_SECONDS", gt=0)
    head_seconds: float = Field(15.0, alias="QUICKSILVER_HEAD_SECONDS", gt=0)
    tick: float = Field(5.0, alias="QUICKSILVER_TICK", gt=0)
    settle_interval: float = Field(0.5, alias="QUICKSILVER_SETTLE_INTERVAL", gt=0)
    sweep_interval: float = Field(300.0, alias="QUICKSILVER_SWEEP_INTERVAL", gt=0)
    # `sweep_degraded`: while both lanes are silent; `canary_interval` 0: no canaries.
    sweep_degraded: float = Field(30.0, alias="QUICKSILVER_SWEEP_DEGRADED", gt=0)
    canary_interval: float = Field(300.0, alias="QUICKSILVER_CANARY_INTERVAL", ge=0)
    max_running: int = Field(4, alias="QUICKSILVER_MAX_RUNNING", ge=1)
    # How long workers wait between polls for runs: Prefect's own variable.
    worker_poll: float = Field(10.0, alias="PREFECT_WORKER_QUERY_SECONDS", gt=0)
    start_deadline: float = Field(120.0, alias="QUICKSILVER_START_DEADLINE", gt=0)
    claim_lease: float = Field(30.0, alias="QUICKSILVER_CLAIM_LEASE", gt=0)
    abandon_grace: float = Field(5.0, alias="QUICKSILVER_ABANDON_GRACE", gt=0)
    retention_days: int = Field(30, alias="QUICKSILVER_RETENTION_DAYS", ge=1)
    quarantine_limit: int = Field(1000, alias="QUICKSILVER_QUARANTINE_LIMIT", ge=1)
    quarantine_bytes: int = Field(64 * 1024 * 1024, alias="QUICKSILVER_QUARANTINE_BYTES", ge=1024)
    # What a file may ask of the warehouse and of a run
    columns_per_file: int = Field(200, alias="QUICKSILVER_COLUMNS_PER_FILE", ge=1, le=1600)
    columns_per_table: int = Field(400, alias="QUICKSILVER_COLUMNS_PER_TABLE", ge=1, le=1600)
    # Rows of a failed dbt test that operators see; 0: none are read.
    failed_rows: int = Field(5, alias="QUICKSILVER_FAILED_ROWS", ge=0, le=100)
    run_memory: int = Field(2_000_000_000, alias="QUICKSILVER_RUN_MEMORY", ge=256_000_000)

    @field_validator(
        "webhook_tokens",
        "operator_tokens",
        "viewer_tokens",
        "metrics_tokens",
        "sns_topics",
        "pubsub_accounts",
        "roles",
        "trusted_proxies",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("run_memory", mode="before")
    @classmethod
    def _bytes(cls, value: object) -> object:
        found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
        return int(found[1]) * _UNITS[found[2].upper()] if found else value

    @field_validator("webhook_tokens", "operator_tokens", "viewer_tokens", "metrics_tokens")
    @classmethod
    def _one_word_each(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(character.isspace() for token in value for character in token.get_secret_value()):
            raise ValueError(
                "must be tokens without spaces, separated by commas: `Authorization: Bearer` takes"
                " one word"
            )
        return value

    @field_validator("roles")
    @classmethod
    def _known_roles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not set(value) <= set(ROLES):
            raise ValueError(f"must be a comma-separated choice of {', '.join(ROLES)}")
        return value

    @field_validator("sns_topics")
    @classmethod
    def _topics(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(TOPIC.fullmatch(topic) for topic in value):
            raise ValueError("must be ARNs of SNS topics, separated by commas")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            for proxy in value:
                ip_network(proxy)
        except ValueError:
            # `ip_network`'s message would repeat the value.
            raise ValueError(
                "must be IP addresses or networks (10.0.0.0/24), separated by commas"
            ) from None
        return value

    @field_validator(
        "dbt_profiles_dir", "home", "datasets_file", "tls_cert", "tls_key", "tls_client_ca"
    )
    @classmethod
    def _of_the_project(cls, value: Path | None) -> Path | None:
        return value and in_project(value)

    @field_validator("dbt_profiles_dir")
    @classmethod
    def _profiles(cls, value: Path) -> Path:
        # A project without dbt has no such folder, and its default is not wrong.
        is_default = value == project_folder() / "analytics"
        if not is_default and not (value / "profiles.yml").is_file():
            raise ValueError(f"{value} holds no profiles.yml: name the folder that does")
        return value

    @field_validator("minio_endpoint_url", "prefect_api_url", "url")
    @classmethod
    def _http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        try:
            parts = urlsplit(value)
            is_address = bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address:
            raise ValueError("must name a host, and a port between 1 and 65535 if any")
        return value.rstrip("/")

    @field_validator("database_url", "warehouse_url")
    @classmethod
    def _postgres(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if url and not url.startswith(("postgresql://", "postgres://")):
            raise ValueError("must be a postgresql:// URL")
        try:
            conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            # libpq's message may quote the password.
            raise ValueError(
                "must be a URL that libpq takes, postgresql://user:password@host:port/database,"
                " with special characters of the password percent-encoded"
            ) from None
        return value

    def require(self, *names: str) -> None:
        """Refuse to go on when one of the named fields is empty.

        Raises:
            SettingsError: with the environment variable's name.
        """
        for name in names:
            value: Any = getattr(self, name)
            empty = not value.get_secret_value() if isinstance(value, SecretStr) else not value
            if empty:
                alias = type(self).model_fields[name].alias
                raise SettingsError(
                    f"{alias} is not set: set it in the environment or in the project's .env"
                    " (`quicksilver env` prints it for the embedded stack)"
                )


def load_settings(**overrides: Any) -> Settings:
    """Read and check the settings; `overrides` are by field name and win over the environment.

    A file in the folder QUICKSILVER_SECRETS_DIR, named like a variable, gives its value where the
    environment has none: as Docker and Kubernetes hand over secrets.

    Raises:
        SettingsError: one line that names the variable, what is wrong, never the value.
    """
    secrets = os.environ.get("QUICKSILVER_SECRETS_DIR") or None
    if secrets is not None:
        secrets = str(in_project(Path(secrets)))
        if not Path(secrets).is_dir():
            raise SettingsError(f"QUICKSILVER_SECRETS_DIR: there is no folder {secrets}")
    own = Settings.model_config.get("env_file")
    try:
        given: dict[str, Any] = {"_secrets_dir": secrets}
        if isinstance(own, str | Path):
            given["_env_file"] = project_folder() / own
        given |= {Settings.model_fields[k].alias or k: v for k, v in overrides.items()}
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        # pydantic's own prefix says nothing to a person.
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{name}: {reason}") from None

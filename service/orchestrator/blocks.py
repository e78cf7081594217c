"""Prefect blocks for what flows connect to: made on Prefect's page, or by `quicksilver init`.

A worker whose environment names a block needs no credentials in its environment: its flow runs
read them from Prefect, where they lie encrypted. They reach no parameter and no log.
"""

from typing import Any, TypeVar

import httpx
from prefect.blocks.core import Block
from prefect.exceptions import PrefectHTTPStatusError
from pydantic import Field, SecretStr

from quicksilver.errors import PrefectUnavailableError, SettingsError
from quicksilver.settings import Settings, load_settings

_Block = TypeVar("_Block", bound=Block)


class LakeConnection(Block):
    """MinIO, or another S3, that holds bronze."""

    _block_type_name = "Quicksilver lake"
    _block_type_slug = "quicksilver-lake"
    _description = "MinIO, or another S3, that holds bronze."

    endpoint_url: str = Field(description="Its address as the flows reach it, http(s)://host:port.")
    access_key: str = Field(description="Whose access key reads bronze.")
    secret_key: SecretStr = Field(description="The secret of that key.")


class WarehouseConnection(Block):
    """The Postgres that holds bronze, silver and gold as tables."""

    _block_type_name = "Quicksilver warehouse"
    _block_type_slug = "quicksilver-warehouse"
    _description = "The Postgres that holds bronze, silver and gold as tables."

    url: SecretStr = Field(description="postgresql://user:password@host:port/database")


async def settings_of_run() -> Settings:
    """The settings of a flow run: the environment's, and above them what the named blocks hold.

    Raises:
        SettingsError: a block does not exist, or holds an invalid value.
        PrefectUnavailableError: Prefect cannot be asked for one.
    """
    settings = load_settings()
    found: dict[str, Any] = {}
    if settings.lake_block:
        lake = await _load(LakeConnection, settings.lake_block, "QUICKSILVER_LAKE_BLOCK")
        found["minio_endpoint_url"] = lake.endpoint_url
        found["minio_access_key"] = lake.access_key
        found["minio_secret_key"] = lake.secret_key
    if settings.warehouse_block:
        name = settings.warehouse_block
        warehouse = await _load(WarehouseConnection, name, "QUICKSILVER_WAREHOUSE_BLOCK")
        found["warehouse_url"] = warehouse.url
    return load_settings(**found) if found else settings


async def _load(kind: type[_Block], name: str, variable: str) -> _Block:
    try:
        return await kind.aload(name)
    except ValueError as error:
        raise SettingsError(
            f"{variable}: Prefect has no block {name!r} of the type {kind.get_block_type_slug()!r}"
            " that can be read: make it on Prefect's page, or call `quicksilver init` where the"
            " credentials are in the environment"
        ) from error
    except (PrefectHTTPStatusError, httpx.HTTPError, OSError) as error:
        raise PrefectUnavailableError(
            f"the block {name!r} could not be asked for: {error}"
        ) from error


async def register_blocks(settings: Settings) -> list[str]:
    """Make both block types known to Prefect, and save the blocks that the settings name.

    A block is saved from the environment; where that has no credentials, the one that a person
    made stays as it is. Idempotent.

    Returns:
        What was done, in words.
    """
    await LakeConnection.aregister_type_and_schema()
    await WarehouseConnection.aregister_type_and_schema()
    lines = ["block types quicksilver-lake, quicksilver-warehouse: in place"]
    if settings.lake_block and settings.minio_access_key:
        lake = LakeConnection(
            endpoint_url=settings.minio_endpoint_url,
            access_key=settings.minio_access_key,
            secret_key=settings.minio_secret_key,
        )
        await lake.asave(settings.lake_block, overwrite=True)
        lines.append(f"block quicksilver-lake/{settings.lake_block}: saved")
    if settings.warehouse_block and settings.warehouse_url.get_secret_value():
        warehouse = WarehouseConnection(url=settings.warehouse_url)
        await warehouse.asave(settings.warehouse_block, overwrite=True)
        lines.append(f"block quicksilver-warehouse/{settings.warehouse_block}: saved")
    return lines

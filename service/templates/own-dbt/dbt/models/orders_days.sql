{{ config(materialized="incremental", unique_key="day", tags=["orders"]) }}

select cast('{{ var("day") }}' as date) as day, current_timestamp as seen_at

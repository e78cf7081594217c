-- A trip around midnight of a month's end may be published in either month, not in both. Only trips
-- of those days can be: a scan of twelve months for it would cost more than building them.
{{ config(tags=['yearly'], severity='warn') }}

with around as (

    select
        trip_id,
        dt,
        pickup_at
    from {{ ref('yellow_trips') }}
    where
        {{ in_the_year('dt') }}
        and (
            pickup_date <= dt
            or pickup_date >= dt + interval '1 month' - interval '1 day'
        )

)

select
    trip_id,
    min(pickup_at) as pickup_at,
    min(dt) as first_dt,
    max(dt) as last_dt
from around
group by trip_id
having count(distinct dt) > 1

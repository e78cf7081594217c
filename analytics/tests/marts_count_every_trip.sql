-- Each mart adds up to silver: trips and money.
with silver as (

    select
        count(*) as trips,
        coalesce(sum(total_amount), 0) as revenue
    from {{ ref('yellow_trips') }}

),

marts as (

    select
        'daily_revenue' as mart,
        coalesce(sum(trips), 0) as trips,
        coalesce(sum(revenue), 0) as revenue
    from {{ ref('daily_revenue') }}
    union all
    select
        'zone_hours' as mart,
        coalesce(sum(trips), 0) as trips,
        coalesce(sum(revenue), 0) as revenue
    from {{ ref('zone_hours') }}
    union all
    select
        'daily_payments' as mart,
        coalesce(sum(trips), 0) as trips,
        coalesce(sum(revenue), 0) as revenue
    from {{ ref('daily_payments') }}

)

select
    marts.mart,
    marts.trips,
    silver.trips as trips_in_silver,
    marts.revenue,
    silver.revenue as revenue_in_silver
from marts
cross join silver
where marts.trips <> silver.trips or marts.revenue <> silver.revenue

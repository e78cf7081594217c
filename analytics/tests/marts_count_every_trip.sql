-- Each mart adds up to silver: trips and money.
with totals as (

    select
        'yellow_trips' as counted_in,
        count(*) as trips,
        sum(total_amount) as revenue
    from {{ ref('yellow_trips') }}
    union all
    select
        'daily_revenue' as counted_in,
        sum(trips) as trips,
        sum(revenue) as revenue
    from {{ ref('daily_revenue') }}
    union all
    select
        'zone_hours' as counted_in,
        sum(trips) as trips,
        sum(revenue) as revenue
    from {{ ref('zone_hours') }}
    union all
    select
        'daily_payments' as counted_in,
        sum(trips) as trips,
        sum(revenue) as revenue
    from {{ ref('daily_payments') }}

)

select
    counted_in,
    trips,
    revenue
from totals
where
    coalesce(trips, 0) <> (select coalesce(max(silver.trips), 0) from totals as silver where silver.counted_in = 'yellow_trips')
    or coalesce(revenue, 0) <> (select coalesce(max(silver.revenue), 0) from totals as silver where silver.counted_in = 'yellow_trips')

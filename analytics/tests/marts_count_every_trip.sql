-- Each mart adds up to silver, partition by partition: trips and money.
with counted as (

    select
        'yellow_trips' as part,
        dt,
        count(*) as trips,
        sum(total_amount) as revenue
    from {{ ref('yellow_trips') }}
    group by dt
    union all
    select
        'daily_revenue' as part,
        dt,
        sum(trips) as trips,
        sum(revenue) as revenue
    from {{ ref('daily_revenue') }}
    group by dt
    union all
    select
        'zone_hours' as part,
        dt,
        sum(trips) as trips,
        sum(revenue) as revenue
    from {{ ref('zone_hours') }}
    group by dt
    union all
    select
        'daily_payments' as part,
        dt,
        sum(trips) as trips,
        sum(revenue) as revenue
    from {{ ref('daily_payments') }}
    group by dt

)

select
    dt,
    string_agg(part || ': ' || trips || ' trips, ' || revenue, '; ') as totals
from counted
group by dt
having min(trips) <> max(trips) or min(revenue) <> max(revenue) or count(*) <> 4

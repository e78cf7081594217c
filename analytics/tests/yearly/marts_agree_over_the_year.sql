-- The marts are cut from the same trips, in every partition of the year.
{{ config(tags=['yearly']) }}

with counted as (

    select
        'daily_revenue' as mart,
        dt,
        sum(trips) as trips,
        sum(revenue) as revenue
    from {{ ref('daily_revenue') }}
    where {{ in_the_year('dt') }}
    group by dt
    union all
    select
        'zone_hours' as mart,
        dt,
        sum(trips) as trips,
        sum(revenue) as revenue
    from {{ ref('zone_hours') }}
    where {{ in_the_year('dt') }}
    group by dt
    union all
    select
        'daily_payments' as mart,
        dt,
        sum(trips) as trips,
        sum(revenue) as revenue
    from {{ ref('daily_payments') }}
    where {{ in_the_year('dt') }}
    group by dt

)

select dt
from counted
group by dt
having min(trips) <> max(trips) or min(revenue) <> max(revenue) or count(*) <> 3

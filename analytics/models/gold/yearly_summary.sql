{{ config(tags=['yearly']) }}

with revenue as (

    select
        date_part('year', dt)::integer as year,
        count(distinct dt)::integer as months,
        count(distinct day)::integer as days,
        sum(trips)::bigint as trips,
        sum(revenue)::numeric(16, 2) as revenue,
        sum(tips)::numeric(16, 2) as tips,
        sum(miles)::double precision as miles
    from {{ ref('daily_revenue') }}
    where {{ in_the_year('dt') }}
    group by date_part('year', dt)

),

rejected as (

    select
        date_part('year', dt)::integer as year,
        count(*)::bigint as rejected
    from {{ ref('yellow_trips_rejected') }}
    where {{ in_the_year('dt') }}
    group by date_part('year', dt)

)

select
    revenue.year,
    revenue.months,
    revenue.days,
    revenue.trips,
    coalesce(rejected.rejected, 0)::bigint as rejected,
    revenue.revenue,
    revenue.tips,
    revenue.miles,
    (revenue.revenue / revenue.days)::numeric(14, 2) as revenue_per_day
from revenue
left join rejected on revenue.year = rejected.year

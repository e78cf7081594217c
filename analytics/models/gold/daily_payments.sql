with trips as (

    select
        *,
        {{ payment_method('payment_type') }} as payment_method
    from {{ ref('yellow_trips') }}

)

select
    dt,
    pickup_date as day,
    payment_method,
    count(*)::integer as trips,
    sum(total_amount)::numeric(14, 2) as revenue,
    sum(fare_amount)::numeric(14, 2) as fares,
    sum(tip_amount)::numeric(14, 2) as tips,
    count(*) filter (where tip_amount > 0)::integer as tipped_trips,
    (case when sum(fare_amount) > 0 then 100 * sum(tip_amount) / sum(fare_amount) end)::numeric(8, 2) as tip_percent
from trips
group by dt, pickup_date, payment_method

select
    dt,
    pickup_date as day,
    count(*)::integer as trips,
    sum(total_amount)::numeric(14, 2) as revenue,
    sum(fare_amount)::numeric(14, 2) as fares,
    sum(tip_amount)::numeric(14, 2) as tips,
    sum(tolls_amount)::numeric(14, 2) as tolls,
    sum(passenger_count)::integer as passengers,
    sum(distance_miles)::double precision as miles,
    (sum(total_amount) / count(*))::numeric(12, 2) as revenue_per_trip
from {{ ref('yellow_trips') }}
group by dt, pickup_date

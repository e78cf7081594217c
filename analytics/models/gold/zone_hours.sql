with trips as (

    select
        dt,
        pickup_zone_id as zone_id,
        pickup_hour as hour,
        count(*)::integer as trips,
        sum(total_amount)::numeric(14, 2) as revenue,
        sum(distance_miles)::double precision as miles,
        (avg(date_part('epoch', dropoff_at - pickup_at)) / 60)::double precision as average_minutes
    from {{ ref('yellow_trips') }}
    group by dt, pickup_zone_id, pickup_hour

)

select
    trips.dt,
    trips.zone_id,
    coalesce(zones.borough, 'Unknown') as borough,
    coalesce(zones.zone, 'Unknown') as zone,
    trips.hour,
    trips.trips,
    trips.revenue,
    trips.miles,
    trips.average_minutes
from trips
left join {{ ref('taxi_zones') }} as zones on trips.zone_id = zones.zone_id

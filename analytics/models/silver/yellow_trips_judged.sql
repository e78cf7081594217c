-- Every landed row once, with the reason why it is turned away, or null for a good trip.
with trips as (

    select
        *,
        -- Any number will do: it only tells copies of one row apart.
        row_number() over () as copy,
        {{ trip_id() }} as trip_id
    from {{ ref('stg_yellow_tripdata') }}

),

repeated as (

    select
        dt,
        trip_id,
        min(copy) as first_copy
    from trips
    group by dt, trip_id
    having count(*) > 1

)

select
    trips.trip_id,
    {{ trip_columns('trips') }},
    case
        when
            trips.pickup_at is null
            or trips.dropoff_at is null
            or trips.total_amount is null
            or trips.fare_amount is null
            or trips.distance_miles is null
            or trips.pickup_zone_id is null
            or trips.dropoff_zone_id is null
            then 'missing_value'
        when trips.copy > repeated.first_copy then 'duplicate'
        when
            trips.pickup_date < trips.dt - 1
            or trips.pickup_date > (trips.dt + interval '1 month')::date
            then 'pickup_outside_month'
        when trips.dropoff_at <= trips.pickup_at then 'dropoff_not_after_pickup'
        when trips.total_amount < 0 then 'negative_total'
        when trips.distance_miles <= 0 then 'no_distance'
    end as reason
from trips
left join repeated on trips.trip_id = repeated.trip_id and trips.dt = repeated.dt

with source as (

    select
        *,
        -- Tells copies of one row apart, the same way whenever the rows are read.
        ctid as place
    from {{ source('bronze', 'yellow_tripdata') }}

),

renamed as (

    select
        dt,
        place,
        {{ code('"VendorID"') }} as vendor_id,
        {{ pickup_to_utc('tpep_pickup_datetime', 'tpep_dropoff_datetime') }} as pickup_at,
        {{ new_york_to_utc('tpep_dropoff_datetime') }} as dropoff_at,
        tpep_pickup_datetime::date as pickup_date,
        date_part('hour', tpep_pickup_datetime)::smallint as pickup_hour,
        {{ code('passenger_count') }} as passenger_count,
        trip_distance as distance_miles,
        {{ code('"RatecodeID"') }} as rate_code,
        store_and_fwd_flag = 'Y' as is_stored_and_forwarded,
        {{ code('"PULocationID"') }} as pickup_zone_id,
        {{ code('"DOLocationID"') }} as dropoff_zone_id,
        {{ code('payment_type') }} as payment_type,
        {{ money('fare_amount') }} as fare_amount,
        {{ money('extra') }} as extra_amount,
        {{ money('mta_tax') }} as mta_tax,
        {{ money('tip_amount') }} as tip_amount,
        {{ money('tolls_amount') }} as tolls_amount,
        {{ money('improvement_surcharge') }} as improvement_surcharge,
        {{ money('congestion_surcharge') }} as congestion_surcharge,
        {{ money('airport_fee') }} as airport_fee,
        {{ money('cbd_congestion_fee') }} as cbd_congestion_fee,
        {{ money('total_amount') }} as total_amount
    from source

)

select * from renamed

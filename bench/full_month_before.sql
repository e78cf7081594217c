-- The models' SQL and tests as dbt executed them in version 0.2.0, for one partition: what a full month is
-- measured against. Run by psql with the variable `build`.
drop table if exists quicksilver_build.yellow_trips_judged__:build;
      create unlogged table quicksilver_build.yellow_trips_judged__:build
  (
    trip_id uuid not null,
    dt date not null,
    vendor_id smallint,
    pickup_at timestamptz,
    dropoff_at timestamptz,
    pickup_date date,
    pickup_hour smallint,
    passenger_count smallint,
    distance_miles double precision,
    rate_code smallint,
    is_stored_and_forwarded boolean,
    pickup_zone_id smallint,
    dropoff_zone_id smallint,
    payment_type smallint,
    fare_amount numeric(12, 2),
    extra_amount numeric(12, 2),
    mta_tax numeric(12, 2),
    tip_amount numeric(12, 2),
    tolls_amount numeric(12, 2),
    improvement_surcharge numeric(12, 2),
    congestion_surcharge numeric(12, 2),
    airport_fee numeric(12, 2),
    cbd_congestion_fee numeric(12, 2),
    total_amount numeric(12, 2),
    reason text
    )
;
  comment on table quicksilver_build.yellow_trips_judged__:build is 'quicksilver scratch :build';
      insert into quicksilver_build.yellow_trips_judged__:build (trip_id, dt, vendor_id, pickup_at, dropoff_at, pickup_date, pickup_hour, passenger_count, distance_miles, rate_code, is_stored_and_forwarded, pickup_zone_id, dropoff_zone_id, payment_type, fare_amount, extra_amount, mta_tax, tip_amount, tolls_amount, improvement_surcharge, congestion_surcharge, airport_fee, cbd_congestion_fee, total_amount, reason)
    select trip_id, dt, vendor_id, pickup_at, dropoff_at, pickup_date, pickup_hour, passenger_count, distance_miles, rate_code, is_stored_and_forwarded, pickup_zone_id, dropoff_zone_id, payment_type, fare_amount, extra_amount, mta_tax, tip_amount, tolls_amount, improvement_surcharge, congestion_surcharge, airport_fee, cbd_congestion_fee, total_amount, reason
    from (
        -- Every landed row once, with the reason why it is turned away, or null for a good trip.
with  __dbt__cte__stg_yellow_tripdata as (
with source as (
    select * from quicksilver_build.landed_yellow_tripdata__:build
),
renamed as (
    select
        dt,
  (case when "VendorID" between 0 and 32767 then "VendorID" end)::smallint as vendor_id,
  case
    when
      tpep_dropoff_datetime <= tpep_pickup_datetime
      and (tpep_pickup_datetime at time zone 'America/New_York' - interval '1 hour') at time zone 'America/New_York' = tpep_pickup_datetime
      then tpep_pickup_datetime at time zone 'America/New_York' - interval '1 hour'
    else tpep_pickup_datetime at time zone 'America/New_York'
  end as pickup_at,
        tpep_dropoff_datetime at time zone 'America/New_York' as dropoff_at,
        tpep_pickup_datetime::date as pickup_date,
        date_part('hour', tpep_pickup_datetime)::smallint as pickup_hour,
  (case when passenger_count between 0 and 32767 then passenger_count end)::smallint as passenger_count,
        trip_distance as distance_miles,
  (case when "RatecodeID" between 0 and 32767 then "RatecodeID" end)::smallint as rate_code,
        store_and_fwd_flag = 'Y' as is_stored_and_forwarded,
  (case when "PULocationID" between 0 and 32767 then "PULocationID" end)::smallint as pickup_zone_id,
  (case when "DOLocationID" between 0 and 32767 then "DOLocationID" end)::smallint as dropoff_zone_id,
  (case when payment_type between 0 and 32767 then payment_type end)::smallint as payment_type,
  (case when abs(fare_amount) < 1e10 then round(fare_amount * 100)::bigint * 0.01 end)::numeric(12, 2) as fare_amount,
  (case when abs(extra) < 1e10 then round(extra * 100)::bigint * 0.01 end)::numeric(12, 2) as extra_amount,
  (case when abs(mta_tax) < 1e10 then round(mta_tax * 100)::bigint * 0.01 end)::numeric(12, 2) as mta_tax,
  (case when abs(tip_amount) < 1e10 then round(tip_amount * 100)::bigint * 0.01 end)::numeric(12, 2) as tip_amount,
  (case when abs(tolls_amount) < 1e10 then round(tolls_amount * 100)::bigint * 0.01 end)::numeric(12, 2) as tolls_amount,
  (case when abs(improvement_surcharge) < 1e10 then round(improvement_surcharge * 100)::bigint * 0.01 end)::numeric(12, 2) as improvement_surcharge,
  (case when abs(congestion_surcharge) < 1e10 then round(congestion_surcharge * 100)::bigint * 0.01 end)::numeric(12, 2) as congestion_surcharge,
  (case when abs(airport_fee) < 1e10 then round(airport_fee * 100)::bigint * 0.01 end)::numeric(12, 2) as airport_fee,
  (case when abs(cbd_congestion_fee) < 1e10 then round(cbd_congestion_fee * 100)::bigint * 0.01 end)::numeric(12, 2) as cbd_congestion_fee,
  (case when abs(total_amount) < 1e10 then round(total_amount * 100)::bigint * 0.01 end)::numeric(12, 2) as total_amount
    from source
)
select * from renamed
), trips as (
    select
        *,
        -- Any number will do: it only tells copies of one row apart.
        row_number() over () as copy,
  md5(concat(
    vendor_id, '|', date_part('epoch', pickup_at)::bigint, '|', date_part('epoch', dropoff_at)::bigint, '|',
    passenger_count, '|', distance_miles, '|', pickup_zone_id, '|', dropoff_zone_id, '|', payment_type, '|',
    fare_amount, '|', tip_amount, '|', tolls_amount, '|', total_amount
  ))::uuid as trip_id
    from __dbt__cte__stg_yellow_tripdata
),
repeated as (
    -- Partition by partition: one run may build several.
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
    trips.dt,
    trips.vendor_id,
    trips.pickup_at,
    trips.dropoff_at,
    trips.pickup_date,
    trips.pickup_hour,
    trips.passenger_count,
    trips.distance_miles,
    trips.rate_code,
    trips.is_stored_and_forwarded,
    trips.pickup_zone_id,
    trips.dropoff_zone_id,
    trips.payment_type,
    trips.fare_amount,
    trips.extra_amount,
    trips.mta_tax,
    trips.tip_amount,
    trips.tolls_amount,
    trips.improvement_surcharge,
    trips.congestion_surcharge,
    trips.cbd_congestion_fee,
    trips.total_amount,
    trips.airport_fee,
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
left join repeated on trips.dt = repeated.dt and trips.trip_id = repeated.trip_id
    ) as model_subq
;
drop table if exists quicksilver_build.yellow_trips_rejected__:build;
      create  table quicksilver_build.yellow_trips_rejected__:build
  (
    trip_id uuid not null,
    reason text not null,
    dt date not null,
    vendor_id smallint,
    pickup_at timestamptz,
    dropoff_at timestamptz,
    pickup_date date,
    pickup_hour smallint,
    passenger_count smallint,
    distance_miles double precision,
    rate_code smallint,
    is_stored_and_forwarded boolean,
    pickup_zone_id smallint,
    dropoff_zone_id smallint,
    payment_type smallint,
    fare_amount numeric(12, 2),
    extra_amount numeric(12, 2),
    mta_tax numeric(12, 2),
    tip_amount numeric(12, 2),
    tolls_amount numeric(12, 2),
    improvement_surcharge numeric(12, 2),
    congestion_surcharge numeric(12, 2),
    airport_fee numeric(12, 2),
    cbd_congestion_fee numeric(12, 2),
    total_amount numeric(12, 2)
    )
;
  comment on table quicksilver_build.yellow_trips_rejected__:build is 'quicksilver scratch :build';
    alter table quicksilver_build.yellow_trips_rejected__:build add column if not exists dt date;
    alter table quicksilver_build.yellow_trips_rejected__:build add constraint dt_is_there check (dt is not null);
      insert into quicksilver_build.yellow_trips_rejected__:build (trip_id, reason, dt, vendor_id, pickup_at, dropoff_at, pickup_date, pickup_hour, passenger_count, distance_miles, rate_code, is_stored_and_forwarded, pickup_zone_id, dropoff_zone_id, payment_type, fare_amount, extra_amount, mta_tax, tip_amount, tolls_amount, improvement_surcharge, congestion_surcharge, airport_fee, cbd_congestion_fee, total_amount)
    select trip_id, reason, dt, vendor_id, pickup_at, dropoff_at, pickup_date, pickup_hour, passenger_count, distance_miles, rate_code, is_stored_and_forwarded, pickup_zone_id, dropoff_zone_id, payment_type, fare_amount, extra_amount, mta_tax, tip_amount, tolls_amount, improvement_surcharge, congestion_surcharge, airport_fee, cbd_congestion_fee, total_amount
    from (
        select
    trip_id,
    reason,
    dt,
    vendor_id,
    pickup_at,
    dropoff_at,
    pickup_date,
    pickup_hour,
    passenger_count,
    distance_miles,
    rate_code,
    is_stored_and_forwarded,
    pickup_zone_id,
    dropoff_zone_id,
    payment_type,
    fare_amount,
    extra_amount,
    mta_tax,
    tip_amount,
    tolls_amount,
    improvement_surcharge,
    congestion_surcharge,
    cbd_congestion_fee,
    total_amount,
    airport_fee
from quicksilver_build.yellow_trips_judged__:build
where reason is not null
    ) as model_subq
;
drop table if exists quicksilver_build.yellow_trips__:build;
      create  table quicksilver_build.yellow_trips__:build
  (
    trip_id uuid not null,
    dt date not null,
    vendor_id smallint,
    pickup_at timestamptz not null,
    dropoff_at timestamptz not null,
    pickup_date date not null,
    pickup_hour smallint not null,
    passenger_count smallint,
    distance_miles double precision not null,
    rate_code smallint,
    is_stored_and_forwarded boolean,
    pickup_zone_id smallint not null,
    dropoff_zone_id smallint not null,
    payment_type smallint,
    fare_amount numeric(12, 2) not null,
    extra_amount numeric(12, 2),
    mta_tax numeric(12, 2),
    tip_amount numeric(12, 2),
    tolls_amount numeric(12, 2),
    improvement_surcharge numeric(12, 2),
    congestion_surcharge numeric(12, 2),
    airport_fee numeric(12, 2),
    cbd_congestion_fee numeric(12, 2),
    total_amount numeric(12, 2) not null
    )
;
  comment on table quicksilver_build.yellow_trips__:build is 'quicksilver scratch :build';
    alter table quicksilver_build.yellow_trips__:build add column if not exists dt date;
    alter table quicksilver_build.yellow_trips__:build add constraint dt_is_there check (dt is not null);
      insert into quicksilver_build.yellow_trips__:build (trip_id, dt, vendor_id, pickup_at, dropoff_at, pickup_date, pickup_hour, passenger_count, distance_miles, rate_code, is_stored_and_forwarded, pickup_zone_id, dropoff_zone_id, payment_type, fare_amount, extra_amount, mta_tax, tip_amount, tolls_amount, improvement_surcharge, congestion_surcharge, airport_fee, cbd_congestion_fee, total_amount)
    select trip_id, dt, vendor_id, pickup_at, dropoff_at, pickup_date, pickup_hour, passenger_count, distance_miles, rate_code, is_stored_and_forwarded, pickup_zone_id, dropoff_zone_id, payment_type, fare_amount, extra_amount, mta_tax, tip_amount, tolls_amount, improvement_surcharge, congestion_surcharge, airport_fee, cbd_congestion_fee, total_amount
    from (
        select
    trip_id,
    dt,
    vendor_id,
    pickup_at,
    dropoff_at,
    pickup_date,
    pickup_hour,
    passenger_count,
    distance_miles,
    rate_code,
    is_stored_and_forwarded,
    pickup_zone_id,
    dropoff_zone_id,
    payment_type,
    fare_amount,
    extra_amount,
    mta_tax,
    tip_amount,
    tolls_amount,
    improvement_surcharge,
    congestion_surcharge,
    cbd_congestion_fee,
    total_amount,
    airport_fee
from quicksilver_build.yellow_trips_judged__:build
where reason is null
    ) as model_subq
;
select
      count(*) as failures,
      count(*) != 0 as should_warn,
      count(*) != 0 as should_error
    from (
  -- No landed row is lost, and none is counted twice.
  select
    dt,
    sum(bronze) as bronze,
    sum(silver) as silver,
    sum(rejected) as rejected
  from (
    select dt, count(*) as bronze, 0 as silver, 0 as rejected from quicksilver_build.landed_yellow_tripdata__:build group by dt
    union all
    select dt, 0, count(*), 0 from quicksilver_build.yellow_trips__:build group by dt
    union all
    select dt, 0, 0, count(*) from quicksilver_build.yellow_trips_rejected__:build group by dt
  ) as counted
  group by dt
  having sum(bronze) <> sum(silver) + sum(rejected)
  limit 5
    ) dbt_internal_test
;
select
      count(*) as failures,
      count(*) != 0 as should_warn,
      count(*) != 0 as should_error
    from (
  select
    dt,
    trip_id,
    count(*) as copies
  from quicksilver_build.yellow_trips__:build
  where trip_id is not null
  group by dt, trip_id
  having count(*) > 1
  limit 5
    ) dbt_internal_test
;
drop table if exists quicksilver_build.daily_revenue__:build;
      create  table quicksilver_build.daily_revenue__:build
  (
    dt date not null,
    day date not null,
    trips integer not null,
    revenue numeric(14, 2) not null,
    fares numeric(14, 2) not null,
    tips numeric(14, 2),
    tolls numeric(14, 2),
    passengers integer,
    miles double precision not null,
    revenue_per_trip numeric(12, 2) not null
    )
;
  comment on table quicksilver_build.daily_revenue__:build is 'quicksilver scratch :build';
    alter table quicksilver_build.daily_revenue__:build add column if not exists dt date;
    alter table quicksilver_build.daily_revenue__:build add constraint dt_is_there check (dt is not null);
      insert into quicksilver_build.daily_revenue__:build (dt, day, trips, revenue, fares, tips, tolls, passengers, miles, revenue_per_trip)
    select dt, day, trips, revenue, fares, tips, tolls, passengers, miles, revenue_per_trip
    from (
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
from quicksilver_build.yellow_trips__:build
group by dt, pickup_date
    ) as model_subq
;
drop table if exists quicksilver_build.daily_payments__:build;
      create  table quicksilver_build.daily_payments__:build
  (
    dt date not null,
    day date not null,
    payment_method text not null,
    trips integer not null,
    revenue numeric(14, 2) not null,
    fares numeric(14, 2) not null,
    tips numeric(14, 2),
    tipped_trips integer not null,
    tip_percent numeric(8, 2)
    )
;
  comment on table quicksilver_build.daily_payments__:build is 'quicksilver scratch :build';
    alter table quicksilver_build.daily_payments__:build add column if not exists dt date;
    alter table quicksilver_build.daily_payments__:build add constraint dt_is_there check (dt is not null);
      insert into quicksilver_build.daily_payments__:build (dt, day, payment_method, trips, revenue, fares, tips, tipped_trips, tip_percent)
    select dt, day, payment_method, trips, revenue, fares, tips, tipped_trips, tip_percent
    from (
        with trips as (
    select
        *,
  case payment_type
    when 0 then 'flex_fare'
    when 1 then 'credit_card'
    when 2 then 'cash'
    when 3 then 'no_charge'
    when 4 then 'dispute'
    when 6 then 'voided'
    else 'unknown'
  end as payment_method
    from quicksilver_build.yellow_trips__:build
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
    ) as model_subq
;
drop table if exists quicksilver_build.zone_hours__:build;
      create  table quicksilver_build.zone_hours__:build
  (
    dt date not null,
    zone_id smallint not null,
    borough text not null,
    zone text not null,
    hour smallint not null,
    trips integer not null,
    revenue numeric(14, 2) not null,
    miles double precision not null,
    average_minutes double precision not null
    )
;
  comment on table quicksilver_build.zone_hours__:build is 'quicksilver scratch :build';
    alter table quicksilver_build.zone_hours__:build add column if not exists dt date;
    alter table quicksilver_build.zone_hours__:build add constraint dt_is_there check (dt is not null);
      insert into quicksilver_build.zone_hours__:build (dt, zone_id, borough, zone, hour, trips, revenue, miles, average_minutes)
    select dt, zone_id, borough, zone, hour, trips, revenue, miles, average_minutes
    from (
        with trips as (
    select
        dt,
        pickup_zone_id as zone_id,
        pickup_hour as hour,
        count(*)::integer as trips,
        sum(total_amount)::numeric(14, 2) as revenue,
        sum(distance_miles)::double precision as miles,
        (avg(date_part('epoch', dropoff_at - pickup_at)) / 60)::double precision as average_minutes
    from quicksilver_build.yellow_trips__:build
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
left join "gold"."taxi_zones" as zones on trips.zone_id = zones.zone_id
    ) as model_subq
;
select
      count(*) as failures,
      count(*) != 0 as should_warn,
      count(*) != 0 as should_error
    from (
  -- Each mart adds up to silver, partition by partition: trips and money.
with counted as (
    select
        'yellow_trips' as part,
        dt,
        count(*) as trips,
        sum(total_amount) as revenue
    from quicksilver_build.yellow_trips__:build
    group by dt
    union all
    select
        'daily_revenue' as part,
        dt,
        sum(trips) as trips,
        sum(revenue) as revenue
    from quicksilver_build.daily_revenue__:build
    group by dt
    union all
    select
        'zone_hours' as part,
        dt,
        sum(trips) as trips,
        sum(revenue) as revenue
    from quicksilver_build.zone_hours__:build
    group by dt
    union all
    select
        'daily_payments' as part,
        dt,
        sum(trips) as trips,
        sum(revenue) as revenue
    from quicksilver_build.daily_payments__:build
    group by dt
)
select
    dt,
    string_agg(part || ': ' || trips || ' trips, ' || revenue, '; ') as totals
from counted
group by dt
having min(trips) <> max(trips) or min(revenue) <> max(revenue) or count(*) <> 4
  limit 5
    ) dbt_internal_test
;

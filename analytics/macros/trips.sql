{% macro trip_id() -%}
  {#
    The name of a trip: the same for the same content, whenever and in whatever layout it lands. The fees
    that TLC added over the years stay out: their sum is in the total, and an old month that is
    published again with a new column full of nulls or zeros keeps its names.
    date_part instead of a cast to text, which would follow the session's DateStyle and TimeZone.
  #}
  md5(concat(
    vendor_id, '|', date_part('epoch', pickup_at)::bigint, '|', date_part('epoch', dropoff_at)::bigint, '|',
    passenger_count, '|', distance_miles, '|', pickup_zone_id, '|', dropoff_zone_id, '|', payment_type, '|',
    fare_amount, '|', tip_amount, '|', tolls_amount, '|', total_amount
  ))::uuid
{%- endmacro %}


{% macro trip_types(taxi) %}
  {# The columns that staging and silver share, beside the key, and their types. #}
  {% set types = {
    'dt': 'date',
    'vendor_id': 'smallint',
    'pickup_at': 'timestamptz',
    'dropoff_at': 'timestamptz',
    'pickup_date': 'date',
    'pickup_hour': 'smallint',
    'passenger_count': 'smallint',
    'distance_miles': 'double precision',
    'rate_code': 'smallint',
    'is_stored_and_forwarded': 'boolean',
    'pickup_zone_id': 'smallint',
    'dropoff_zone_id': 'smallint',
    'payment_type': 'smallint',
    'fare_amount': 'numeric(12, 2)',
    'extra_amount': 'numeric(12, 2)',
    'mta_tax': 'numeric(12, 2)',
    'tip_amount': 'numeric(12, 2)',
    'tolls_amount': 'numeric(12, 2)',
    'improvement_surcharge': 'numeric(12, 2)',
    'congestion_surcharge': 'numeric(12, 2)',
    'cbd_congestion_fee': 'numeric(12, 2)',
    'total_amount': 'numeric(12, 2)',
  } %}
  {% do types.update(
    {'trip_type': 'smallint', 'ehail_fee': 'numeric(12, 2)'} if taxi == 'green' else {'airport_fee': 'numeric(12, 2)'}
  ) %}
  {% do return(types) %}
{% endmacro %}


{% macro trip_columns(relation='', taxi='yellow') -%}
  {%- set prefix = relation ~ '.' if relation else '' -%}
  {%- for column in trip_types(taxi) -%}
    {{ prefix }}{{ column }}{{ ',\n    ' if not loop.last }}
  {%- endfor -%}
{%- endmacro %}


{% macro named_trips(staged) -%}
-- Without the fence Postgres would convert a column anew wherever it is named: two of them three times.
select
    {{ trip_id() }} as trip_id,
    trips.*
from (select * from {{ staged }} offset 0) as trips
{%- endmacro %}


{% macro judged_trips(named, taxi) -%}
with repeated as (

    -- Partition by partition: one run may build several.
    select
        dt,
        trip_id,
        min(place) as first_place
    -- Sorted: of millions of names nearly all are different, and a hash of them all is larger than memory.
    from (select dt, trip_id, place from {{ named }} order by trip_id, dt offset 0) as names
    group by trip_id, dt
    having count(*) > 1

)

select
    trips.trip_id,
    {{ trip_columns('trips', taxi) }},
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
        when trips.place > repeated.first_place then 'duplicate'
        when
            trips.pickup_date < trips.dt - 1
            or trips.pickup_date > (trips.dt + interval '1 month')::date
            then 'pickup_outside_month'
        when trips.dropoff_at <= trips.pickup_at then 'dropoff_not_after_pickup'
        when trips.total_amount < 0 then 'negative_total'
        when trips.distance_miles <= 0 then 'no_distance'
    end as reason
from {{ named }} as trips
left join repeated on trips.dt = repeated.dt and trips.trip_id = repeated.trip_id
{%- endmacro %}


{% macro payment_method(column) -%}
  {# TLC's data dictionary. Records that came without a meter (null since July 2019) carry no code. #}
  case {{ column }}
    when 0 then 'flex_fare'
    when 1 then 'credit_card'
    when 2 then 'cash'
    when 3 then 'no_charge'
    when 4 then 'dispute'
    when 6 then 'voided'
    else 'unknown'
  end
{%- endmacro %}

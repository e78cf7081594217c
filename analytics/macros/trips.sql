{% macro trip_id() -%}
  {#
    The name of a trip, the same for the same content whenever and in whatever layout it lands. The fees
    that TLC added over the years stay out: their sum is in the total, and an old month that is
    published again with a new column full of nulls or zeros keeps its names.
    date_part and not a cast to text: that would follow the session's DateStyle and TimeZone.
  #}
  md5(concat(
    vendor_id, '|', date_part('epoch', pickup_at)::bigint, '|', date_part('epoch', dropoff_at)::bigint, '|',
    passenger_count, '|', distance_miles, '|', pickup_zone_id, '|', dropoff_zone_id, '|', payment_type, '|',
    fare_amount, '|', tip_amount, '|', tolls_amount, '|', total_amount
  ))::uuid
{%- endmacro %}


{% macro trip_types() %}
  {# The columns that staging and silver share, beside the key, and their types. #}
  {% do return({
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
    'airport_fee': 'numeric(12, 2)',
    'cbd_congestion_fee': 'numeric(12, 2)',
    'total_amount': 'numeric(12, 2)',
  }) %}
{% endmacro %}


{% macro trip_columns(relation='') -%}
  {%- set prefix = relation ~ '.' if relation else '' -%}
  {%- for column in trip_types() -%}
    {{ prefix }}{{ column }}{{ ',\n    ' if not loop.last }}
  {%- endfor -%}
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

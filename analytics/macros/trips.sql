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


{% macro trip_columns(relation='') -%}
  {# The columns that silver's two tables share, beside their key. #}
  {%- set prefix = relation ~ '.' if relation else '' -%}
  {%- for column in [
    'dt', 'vendor_id', 'pickup_at', 'dropoff_at', 'pickup_date', 'pickup_hour', 'passenger_count', 'distance_miles',
    'rate_code', 'is_stored_and_forwarded', 'pickup_zone_id', 'dropoff_zone_id', 'payment_type', 'fare_amount',
    'extra_amount', 'mta_tax', 'tip_amount', 'tolls_amount', 'improvement_surcharge', 'congestion_surcharge',
    'airport_fee', 'cbd_congestion_fee', 'total_amount',
  ] -%}
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

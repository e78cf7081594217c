{# How landed values become typed ones. A value that cannot be converted becomes null and never fails a build. #}

{% macro money(column) -%}
  {#
    Converted through whole cents: a month has 30 million amounts, and a float cast to numeric goes through its text, five
    times as slow. Half of them are zero. NaN and infinity compare as not below the limit; numeric(12, 2) has no
    room above it.
  #}
  (case
    when {{ column }} = 0 then 0.00
    when abs({{ column }}) < 1e10 then round({{ column }} * 100)::bigint * 0.01
  end)::numeric(12, 2)
{%- endmacro %}


{% macro code(column) -%}
  {# TLC publishes its codes as 64-bit, 32-bit or floating numbers, from year to year. #}
  (case when {{ column }} between 0 and 32767 then {{ column }} end)::smallint
{%- endmacro %}


{% macro new_york_to_utc(column) -%}
  {{ column }} at time zone 'America/New_York'
{%- endmacro %}


{% macro pickup_to_utc(pickup, dropoff) -%}
  {#
    In the night of the autumn change, 01:00 to 02:00 occurs twice, and Postgres takes the second. If
    the dropoff does not seem to be later than the pickup, the pickup was in the first: an hour
    earlier, with the same time on the clock.
  #}
  case
    when
      {{ dropoff }} <= {{ pickup }}
      and ({{ new_york_to_utc(pickup) }} - interval '1 hour') at time zone 'America/New_York' = {{ pickup }}
      then {{ new_york_to_utc(pickup) }} - interval '1 hour'
    else {{ new_york_to_utc(pickup) }}
  end
{%- endmacro %}

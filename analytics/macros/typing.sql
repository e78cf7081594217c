{# How landed values become typed ones. A value that cannot be one is null, never a failed build. #}

{% macro money(column) -%}
  {# NaN and infinity compare as not below the limit; numeric(12, 2) has no room above it. #}
  case when abs({{ column }}) < 1e10 then {{ column }}::numeric(12, 2) end
{%- endmacro %}


{% macro code(column) -%}
  {# TLC publishes its codes as 64-bit, 32-bit or floating numbers, from year to year. #}
  case when {{ column }} between 0 and 32767 then {{ column }}::smallint end
{%- endmacro %}


{% macro new_york_to_utc(column) -%}
  {{ column }} at time zone 'America/New_York'
{%- endmacro %}

{% macro lost_rows(bronze, silver, rejected) -%}
  {# Partitions in which a landed row is in neither or both of silver and the rejected rows. #}
  select
    dt,
    sum(bronze) as bronze,
    sum(silver) as silver,
    sum(rejected) as rejected
  from (
    select dt, count(*) as bronze, 0 as silver, 0 as rejected from {{ bronze }} group by dt
    union all
    select dt, 0, count(*), 0 from {{ silver }} group by dt
    union all
    select dt, 0, 0, count(*) from {{ rejected }} group by dt
  ) as counted
  group by dt
  having sum(bronze) <> sum(silver) + sum(rejected)
{%- endmacro %}


{% test nothing_is_lost(model, bronze, rejected) %}
  {{ lost_rows(bronze, model, rejected) }}
{% endtest %}

{% test unique_in_partition(model, column_name) %}
  {# A build may take several partitions at once; what lies in another one is the yearly tests' matter. #}
  select
    dt,
    {{ column_name }},
    count(*) as copies
  from {{ model }}
  where {{ column_name }} is not null
  group by dt, {{ column_name }}
  having count(*) > 1
{% endtest %}

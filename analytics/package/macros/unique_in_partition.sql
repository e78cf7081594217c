{% test unique_in_partition(model, column_name) %}
  {# A build may take several partitions at once; the yearly tests compare partitions. #}
  {# Sorted: of millions of keys all are different, and a hash of them all is larger than memory. #}
  select
    dt,
    {{ column_name }},
    count(*) as copies
  from (select dt, {{ column_name }} from {{ model }} order by {{ column_name }}, dt offset 0) as keys
  where {{ column_name }} is not null
  group by {{ column_name }}, dt
  having count(*) > 1
{% endtest %}

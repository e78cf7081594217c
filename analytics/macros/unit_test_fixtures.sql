{#
  dbt asks the database for the types of a unit test's input. Some models are never in it: a staging
  model is part of others, judged trips exist only while a partition is built.
  Otherwise this is dbt's own macro: a column that a row leaves out is null.
#}
{% macro get_fixture_sql(rows, column_name_to_data_types) %}
  {% set types = {} %}
  {% set taxi = 'green' if 'green' in model.name else 'yellow' %}
  {% set unstored = {
    'stg_' ~ taxi ~ '_tripdata': {'place': 'tid'},
    taxi ~ '_trips_named': {'place': 'tid', 'trip_id': 'uuid'},
    taxi ~ '_trips_judged': {'trip_id': 'uuid', 'reason': 'text'},
  } %}
  {% if model.name in unstored %}
    {% do types.update(trip_types(taxi)) %}
    {% do types.update(unstored[model.name]) %}
  {% else %}
    {% for column in adapter.get_columns_in_relation(this) %}{% do types.update({column.name: column.data_type}) %}{% endfor %}
    {# Every table has it, and staging reads it; a table without columns does not exist. #}
    {% if types %}{% do types.update({'ctid': 'tid'}) %}{% endif %}
  {% endif %}
  {% if not types %}
    {% do exceptions.raise_compiler_error(
      'unit tests need ' ~ this ~ ' for the types of its columns: `quicksilver init` creates it, empty.'
      ~ ' A model that is never a table (staging) needs `format: sql`, with its types cast'
    ) %}
  {% endif %}
  {% for row in rows or [{}] %}
    {% set given = {} %}
    {% for name, value in row.items() %}
      {% if name not in types %}
        {% do exceptions.raise_compiler_error('unit test input ' ~ model.name ~ ' has no column ' ~ name) %}
      {% endif %}
      {% do given.update({name: value}) %}
    {% endfor %}
    select
    {% for name, type in types.items() %}
      {% set value = given.get(name) %}
      cast(
        {{ 'null' if value is none else dbt.string_literal(dbt.escape_single_quotes(value | string)) }} as {{ type }}
      ) as {{ adapter.quote(name) }}{{ ',' if not loop.last }}
    {% endfor %}
    {{ 'union all' if not loop.last }}
  {% endfor %}
  {{ 'limit 0' if not rows }}
{% endmacro %}

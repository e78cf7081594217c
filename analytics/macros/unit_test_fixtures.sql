{#
  dbt asks the database for the types of a unit test's input, so unit tests would need tables that
  exist. Here the types are those that the yml declares: unit tests run on an empty warehouse.
#}
{% macro get_fixture_sql(rows, column_name_to_data_types) %}
  {% set declared = {} %}
  {% for node in (graph.nodes.values() | list) + (graph.sources.values() | list)
      if node.name == model.name and node.resource_type in ('model', 'source', 'seed') %}
    {% do declared.update(node.columns) %}
  {% endfor %}
  {% set types = {} %}
  {% for name, column in declared.items() if column.data_type %}
    {% do types.update({name | lower: column}) %}
  {% endfor %}
  {% for row in rows %}
    {% for name in row if name | lower not in types %}
      {% do exceptions.raise_compiler_error(
        'unit test input ' ~ model.name ~ ' has a column ' ~ name ~ ' that its yml does not declare with a data_type'
      ) %}
    {% endfor %}
    {% set given = {} %}
    {% for name, value in row.items() %}{% do given.update({name | lower: value}) %}{% endfor %}
    select
    {% for name, column in types.items() %}
      {% set value = given.get(name) %}
      cast({{ 'null' if value is none else dbt.string_literal(dbt.escape_single_quotes(value | string)) }}
      as {{ column.data_type }}) as {{ adapter.quote(column.name) }}{{ ',' if not loop.last }}
    {% endfor %}
    {{ 'union all' if not loop.last }}
  {% else %}
    select
    {% for column in types.values() %}
      cast(null as {{ column.data_type }}) as {{ adapter.quote(column.name) }}{{ ',' if not loop.last }}
    {% endfor %}
    limit 0
  {% endfor %}
{% endmacro %}

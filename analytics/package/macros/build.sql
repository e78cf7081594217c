{#
  A build is one run of Quicksilver over one partition (or one year). It is announced by environment
  variables, read at run time only: parsing never sees them, so they never invalidate a parsed
  manifest. Without them (dbt by hand: docs, compile, unit tests) everything means the published tables.
#}

{% macro build_id() %}
  {{ return(env_var('QUICKSILVER_BUILD', '') if execute else '') }}
{% endmacro %}


{% macro scratch_relation(relation, prefix='') %}
  {# Postgres cuts names at 63 bytes; a silently cut name could be another build's. #}
  {% set identifier = prefix ~ relation.identifier ~ '__' ~ build_id() %}
  {% if identifier | length > 63 %}
    {% do exceptions.raise_compiler_error(
      'the name ' ~ relation.identifier ~ ' is too long: shorten it to ' ~ (61 - (prefix ~ build_id()) | length) ~ ' characters'
    ) %}
  {% endif %}
  {{ return(api.Relation.create(
    database=relation.database, schema=env_var('QUICKSILVER_SCRATCH_SCHEMA', 'quicksilver_build'),
    identifier=identifier, type='table'
  )) }}
{% endmacro %}


{% macro partitions_of_build() %}
  {#
    The partitions of a build: the `column` that tells them apart, its `type`, and for each of the
    `partitions` its `value`, its `tag` in names of tables, and whether its scratch tables are `unlogged`.
    `is_shared`: one dbt run builds several partitions, each with a scratch table below a shared one.
    None when no partition is built (a year, or dbt by hand).
  #}
  {{ return(fromjson(env_var('QUICKSILVER_BUILD_PARTITIONS', 'null')) if execute else none) }}
{% endmacro %}


{% macro ref() %}
  {# During a build, a model that this run builds is its scratch table; any other is the published one. #}
  {% set relation = builtins.ref(*varargs, **kwargs) %}
  {% if not execute or not build_id() or relation.is_cte %}
    {{ return(relation) }}
  {% endif %}
  {% set unique_id = 'model.' ~ (varargs[0] if varargs | length == 2 else project_name) ~ '.' ~ varargs[-1] %}
  {% if unique_id in selected_resources and graph.nodes[unique_id].config.materialized == 'partition' %}
    {{ return(scratch_relation(relation)) }}
  {% endif %}
  {{ return(relation) }}
{% endmacro %}


{% macro source(source_name, table_name) %}
  {# During a build, the bronze table that it loads is the build's scratch table. #}
  {% set relation = builtins.source(source_name, table_name) %}
  {% if execute and build_id() and not relation.is_cte
      and relation.schema ~ '.' ~ relation.identifier == env_var('QUICKSILVER_BUILD_SOURCE', '') %}
    {# A model may have the bronze table's name. #}
    {{ return(scratch_relation(relation, 'landed_')) }}
  {% endif %}
  {{ return(relation) }}
{% endmacro %}


{% macro generate_schema_name(custom_schema_name, node) -%}
  {# The warehouse's schemas are named as declared; any other target gets its own beside them. #}
  {%- if custom_schema_name is none -%} {{ target.schema }}
  {%- elif target.name == 'warehouse' -%} {{ custom_schema_name | trim }}
  {%- else -%} {{ target.schema }}_{{ custom_schema_name | trim }}
  {%- endif -%}
{%- endmacro %}


{% macro in_the_year(column) -%}
  {# The year that the gate builds; by hand, all of them. #}
  {%- set year = env_var('QUICKSILVER_BUILD_YEAR', '') if execute else '' -%}
  {%- if year -%}
    {{ column }} >= date '{{ year }}-01-01' and {{ column }} < date '{{ year | int + 1 }}-01-01'
  {%- else -%}
    true
  {%- endif -%}
{%- endmacro %}

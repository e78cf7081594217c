{#
  Materialization `partition`: the model becomes a scratch table of the running build, in a schema of
  Quicksilver's own. Quicksilver publishes it when every test has passed: in one transaction, all models
  of the partition at once. No view is swapped, and nothing that another build uses is changed.
  A build of several partitions publishes one scratch table per partition, below a shared one: Postgres
  routes the rows into them.
#}
{% materialization partition, adapter='postgres' %}
  {%- if not build_id() -%}
    {% do exceptions.raise_compiler_error(
      this ~ ' is built partition by partition, by a Quicksilver build: run the deployment silver-build'
      ~ ' (`quicksilver rebuild DATASET DT`). By hand, `dbt compile`, `dbt test` and `dbt docs generate` work.'
    ) %}
  {%- endif -%}
  {%- set scratch = scratch_relation(this) -%}
  {%- set build = partitions_of_build() if config.get('meta', {}).get('published', true) else none -%}
  {%- set is_keyed = build and build.column in model.columns and config.get('contract').enforced -%}
  {%- if build and build.is_shared and not is_keyed -%}
    {% do exceptions.raise_compiler_error(this ~ ' needs a column ' ~ build.column ~ ' in an enforced contract') %}
  {%- endif -%}
  {%- set unlogged = 'unlogged' if not build or build.partitions[0].unlogged -%}
  {%- set is_made_by_select = not (build and build.is_shared) and not has_other_constraints() -%}
  {{ run_hooks(pre_hooks) }}
  {% call statement('main') -%}
    drop table if exists {{ scratch }};
    {% if is_made_by_select %}
      {# What fills a new table may be read by several processes; what is inserted is read by one. #}
      {% if config.get('contract').enforced %}{{ get_assert_columns_equivalent(sql) }}{% endif %}
      create {{ unlogged }} table {{ scratch }} as {{ select_as_declared(sql) }}
    {% elif build and build.is_shared %}
      {{ get_assert_columns_equivalent(sql) }}
      create table {{ scratch }} {{ get_table_columns_and_constraints() }} partition by list ({{ build.column }});
      {{ mark_scratch(scratch) }}
      {% for one in build.partitions %}
        {% set own = scratch_of_partition(scratch, one.tag) %}
        create {{ 'unlogged' if one.unlogged }} table {{ own }}
        partition of {{ scratch }} (
          constraint {{ build.column }}_is_the_partition check ({{ build.column }} = {{ build_value(build, one) }})
        )
        for values in ({{ build_value(build, one) }});
        {{ mark_scratch(own) }}
      {% endfor %}
      insert into {{ scratch }} ({{ get_column_names() }})
      {{ get_select_subquery(sql) }}
    {% else %}
      create {{ unlogged }} table {{ scratch }}
      {{ get_assert_columns_equivalent(sql) }}
      {{ get_table_columns_and_constraints() }};
      {{ mark_scratch(scratch) }}
      {{ keyed_by_build(scratch, build) }}
      insert into {{ scratch }} ({{ get_column_names() }})
      {{ get_select_subquery(sql) }}
    {% endif %}
  {%- endcall %}
  {% if is_made_by_select %}
    {% call statement('declared') -%}
      {{ mark_scratch(scratch) }}
      {{ keyed_by_build(scratch, build) }}
      {{ refuse_nulls(scratch) }}
    {%- endcall %}
  {% endif %}
  {{ run_hooks(post_hooks) }}
  {{ adapter.commit() }}
  {{ return({'relations': [scratch]}) }}
{% endmaterialization %}


{% macro has_other_constraints() %}
  {# Than `not_null` of a column: a table that a select makes has none but those that are added to it. #}
  {% if not config.get('contract').enforced %}{{ return(false) }}{% endif %}
  {% set types = (model.columns.values() | map(attribute='constraints') | sum(start=[])) | map(attribute='type') | list %}
  {{ return((model.constraints or types | reject('equalto', 'not_null') | list) | length > 0) }}
{% endmacro %}


{% macro select_as_declared(sql) %}
  {# With the lengths and precisions of the contract, which only compares the kinds of types. #}
  {% if not config.get('contract').enforced %}{{ return(sql) }}{% endif %}
  select
  {% for column in model.columns.values() %}
    {% set name = adapter.quote(column.name) if column.quote else column.name %}
    cast({{ name }} as {{ column.data_type }}) as {{ name }}{{ ',' if not loop.last }}
  {% endfor %}
  from ({{ sql }}) as made
{% endmacro %}


{% macro refuse_nulls(scratch) %}
  {% set names = [] %}
  {% for column in model.columns.values() if config.get('contract').enforced and column.constraints %}
    {% do names.append(adapter.quote(column.name) if column.quote else column.name) %}
  {% endfor %}
  {% if names %}
    {# One scan of the table for all of them. #}
    alter table {{ scratch }}
    {% for name in names %}alter column {{ name }} set not null{{ ',' if not loop.last }}
    {% endfor %};
  {% endif %}
{% endmacro %}


{% macro keyed_by_build(scratch, build) %}
  {#
    A model need not have the column that tells partitions apart: a default fills it. The table may
    become the partition as it is: the check saves Postgres the scan that would prove it.
  #}
  {% if build %}
    {% set value = build_value(build, build.partitions[0]) %}
    alter table {{ scratch }} add column if not exists {{ build.column }} {{ build.type }} default {{ value }};
    alter table {{ scratch }} add constraint {{ build.column }}_is_the_partition
    check ({{ build.column }} = {{ value }});
  {% endif %}
{% endmacro %}


{% macro build_value(build, partition) -%}
  cast({{ dbt.string_literal(dbt.escape_single_quotes(partition.value)) }} as {{ build.type }})
{%- endmacro %}


{% macro mark_scratch(relation) %}
  {# Clean-up drops what this comment names, and nothing else: `warehouse.scratch.scratch_comment`. #}
  comment on table {{ relation }} is 'quicksilver scratch {{ build_id() }}';
{% endmacro %}


{% macro scratch_of_partition(scratch, tag) %}
  {# Named as `warehouse.scratch.shared_suffix` has it. #}
  {% set identifier = scratch.identifier ~ 'p' ~ tag %}
  {% if identifier | length > 63 %}
    {% do exceptions.raise_compiler_error('the name ' ~ identifier ~ ' is too long for Postgres') %}
  {% endif %}
  {{ return(scratch.incorporate(path={'identifier': identifier})) }}
{% endmacro %}


{% macro get_column_names() %}
  {{ return(adapter.dispatch('get_column_names', 'dbt')()) }}
{% endmacro %}

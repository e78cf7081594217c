{#
  Materialization `partition`: the model becomes a scratch table of the running build, in schema
  `build`. Quicksilver publishes it when every test has passed: in one transaction, all models of the
  partition at once. No view is swapped, nothing that another build touches is touched.
  Where a build takes several partitions, what is published is a scratch table of each partition below
  one of them all: Postgres sorts the rows into them.
#}
{% materialization partition, adapter='postgres' %}
  {%- if not build_id() -%}
    {% do exceptions.raise_compiler_error(
      this ~ ' is built partition by partition, by a Quicksilver build: run the deployment silver-build'
      ~ ' (`quicksilver rebuild DATASET DT`). By hand, `dbt compile`, `dbt test` and `dbt docs generate` work.'
    ) %}
  {%- endif -%}
  {%- set scratch = scratch_relation(this) -%}
  {%- set dt = env_var('QUICKSILVER_BUILD_DT', '') -%}
  {%- set partitions = partitions_of_build() if config.get('meta', {}).get('published', true) else [] -%}
  {%- if partitions and ('dt' not in model.columns or not config.get('contract').enforced) -%}
    {% do exceptions.raise_compiler_error(this ~ ' needs a column dt in an enforced contract') %}
  {%- endif -%}
  {{ run_hooks(pre_hooks) }}
  {% call statement('main') -%}
    drop table if exists {{ scratch }};
    {% if partitions %}
      {{ get_assert_columns_equivalent(sql) }}
      create table {{ scratch }} {{ get_table_columns_and_constraints() }} partition by list (dt);
      {% for one in partitions %}
        create {{ 'unlogged' if one.unlogged }} table {{ scratch_of_partition(scratch, one.dt) }}
        partition of {{ scratch }} (constraint dt_is_the_partition check (dt = date '{{ one.dt }}'))
        for values in (date '{{ one.dt }}');
      {% endfor %}
      insert into {{ scratch }} ({{ get_column_names() }})
      {{ get_select_subquery(sql) }}
    {% else %}
    create {{ 'unlogged' if env_var('QUICKSILVER_BUILD_UNLOGGED', '1') == '1' }} table {{ scratch }}
    {% if config.get('contract').enforced %}
      {{ get_assert_columns_equivalent(sql) }}
      {{ get_table_columns_and_constraints() }};
      {# The table may become the partition itself: the check spares Postgres the scan that proves it. #}
      {% if dt and 'dt' in model.columns %}
        alter table {{ scratch }} add constraint dt_is_the_partition check (dt = date '{{ dt }}');
      {% endif %}
      insert into {{ scratch }} ({{ get_column_names() }})
      {{ get_select_subquery(sql) }}
    {% else %}
      as {{ sql }}
    {% endif %}
    {% endif %}
  {%- endcall %}
  {{ run_hooks(post_hooks) }}
  {{ adapter.commit() }}
  {{ return({'relations': [scratch]}) }}
{% endmaterialization %}


{% macro scratch_of_partition(scratch, dt) %}
  {# Named as `warehouse.scratch.batch_suffix` has it. #}
  {% set identifier = scratch.identifier ~ 'p' ~ dt | replace('-', '') %}
  {% if identifier | length > 63 %}
    {% do exceptions.raise_compiler_error('the name ' ~ identifier ~ ' is too long for Postgres') %}
  {% endif %}
  {{ return(scratch.incorporate(path={'identifier': identifier})) }}
{% endmacro %}


{% macro get_column_names() %}
  {{ return(adapter.dispatch('get_column_names', 'dbt')()) }}
{% endmacro %}

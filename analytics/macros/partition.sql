{#
  Materialization `partition`: the model becomes a scratch table of the running build, in schema
  `build`. Quicksilver publishes it when every test has passed: in one transaction, all models of the
  partition at once. No view is swapped, nothing that another build touches is touched.
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
  {{ run_hooks(pre_hooks) }}
  {% call statement('main') -%}
    drop table if exists {{ scratch }};
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
  {%- endcall %}
  {{ run_hooks(post_hooks) }}
  {{ adapter.commit() }}
  {{ return({'relations': [scratch]}) }}
{% endmaterialization %}


{% macro get_column_names() %}
  {{ return(adapter.dispatch('get_column_names', 'dbt')()) }}
{% endmacro %}

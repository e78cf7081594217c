"""From a manifest to a published partition: files into scratch tables, dbt, one commit."""

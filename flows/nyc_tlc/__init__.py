"""NYC taxi months: the example, from its source into bronze."""

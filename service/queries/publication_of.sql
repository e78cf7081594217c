select rows_bronze, rows_silver, rows_rejected, loaded_at, details
from quicksilver.publication
where build_id = %(build)s and dataset = %(dataset)s and dt = %(dt)s

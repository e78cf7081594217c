-- The newest publication of each of a dataset's latest partitions, but the one that is built.
select distinct on (dt) dt, rows_bronze, rows_rejected
from quicksilver.publication
where dataset = %(dataset)s and dt <> %(dt)s
order by dt desc, build_id desc
limit 24

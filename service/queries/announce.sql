insert into quicksilver.announcement (name, resource, payload, at)
select i.name, i.resource, i.payload, i.at
from jsonb_to_recordset(%(items)s::jsonb) as i (
    name text, resource text, payload jsonb, at timestamptz
)

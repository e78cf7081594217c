-- The newest are kept, up to a number and a size; what goes is counted.
with kept as (
    select
        q.id,
        row_number() over w as place,
        sum(length(q.body)) over w as bytes
    from quicksilver.quarantine as q
    window w as (order by q.last_seen desc, q.id desc)
),

dropped as (
    delete from quicksilver.quarantine as q
    using kept as k
    where q.id = k.id and (k.place > %(rows)s or k.bytes > %(bytes)s)
    returning q.id
)

insert into quicksilver.counter as c (name, value)
select 'quarantine_dropped', count(*) from dropped
having count(*) > 0
on conflict (name) do update set value = c.value + excluded.value
returning value

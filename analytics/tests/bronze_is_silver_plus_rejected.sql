-- No landed row is lost, and none is counted twice.
with counted as (

    select
        dt,
        count(*) as bronze,
        0 as silver,
        0 as rejected
    from {{ source('bronze', 'yellow_tripdata') }}
    group by dt
    union all
    select
        dt,
        0 as bronze,
        count(*) as silver,
        0 as rejected
    from {{ ref('yellow_trips') }}
    group by dt
    union all
    select
        dt,
        0 as bronze,
        0 as silver,
        count(*) as rejected
    from {{ ref('yellow_trips_rejected') }}
    group by dt

)

select
    dt,
    sum(bronze) as bronze,
    sum(silver) as silver,
    sum(rejected) as rejected
from counted
group by dt
having sum(bronze) <> sum(silver) + sum(rejected)

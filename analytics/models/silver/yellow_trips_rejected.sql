select
    trip_id,
    reason,
    {{ trip_columns() }}
from {{ ref('yellow_trips_judged') }}
where reason is not null

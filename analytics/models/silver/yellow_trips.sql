select
    trip_id,
    {{ trip_columns() }}
from {{ ref('yellow_trips_judged') }}
where reason is null

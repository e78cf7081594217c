select
    trip_id,
    reason,
    {{ trip_columns(taxi='green') }}
from {{ ref('green_trips_judged') }}
where reason is not null

select
    trip_id,
    {{ trip_columns(taxi='green') }}
from {{ ref('green_trips_judged') }}
where reason is null

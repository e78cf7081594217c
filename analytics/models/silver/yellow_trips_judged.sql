-- Every landed row once, with the reason why it is turned away, or null for a good trip.
{{ judged_trips(ref('stg_yellow_tripdata'), taxi='yellow') }}

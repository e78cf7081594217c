-- Every landed row once, converted, and the name of its trip.
{{ named_trips(ref('stg_yellow_tripdata')) }}

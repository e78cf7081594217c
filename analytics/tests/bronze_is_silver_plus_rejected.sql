-- No landed row is lost, and none is counted twice.
{{ lost_rows(source('bronze', 'yellow_tripdata'), ref('yellow_trips'), ref('yellow_trips_rejected')) }}

-- Every landed row once, with the reason why it is turned away, or null for a good trip.
{{ config(materialized='ephemeral', contract={'enforced': false}) }}
{{ judged_trips(ref('yellow_trips_named'), taxi='yellow') }}

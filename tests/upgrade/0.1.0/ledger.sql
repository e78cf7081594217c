SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA quicksilver;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE quicksilver.action (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL
);
ALTER TABLE quicksilver.action ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME quicksilver.action_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE quicksilver.alert (
    id bigint NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    text text NOT NULL,
    raised_at timestamp with time zone NOT NULL,
    cleared_at timestamp with time zone
);
ALTER TABLE quicksilver.alert ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME quicksilver.alert_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE quicksilver.announcement (
    id bigint NOT NULL,
    name text NOT NULL,
    resource text NOT NULL,
    payload jsonb NOT NULL,
    at timestamp with time zone NOT NULL,
    sent_at timestamp with time zone
);
ALTER TABLE quicksilver.announcement ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME quicksilver.announcement_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE quicksilver.build (
    id bigint NOT NULL,
    dataset text NOT NULL,
    dt date NOT NULL,
    generation bigint NOT NULL,
    attempt integer,
    state text DEFAULT 'claimed'::text NOT NULL,
    idempotency_key text,
    owner text NOT NULL,
    flow_run_id uuid,
    manifest jsonb,
    put_at timestamp with time zone,
    received_at timestamp with time zone,
    claimed_at timestamp with time zone NOT NULL,
    dispatched_at timestamp with time zone,
    started_at timestamp with time zone,
    loaded_at timestamp with time zone,
    published_at timestamp with time zone,
    finished_at timestamp with time zone,
    deadline_at timestamp with time zone,
    abandoned_at timestamp with time zone,
    cancel_requested_at timestamp with time zone,
    error text,
    rows_bronze bigint,
    rows_silver bigint,
    rows_rejected bigint,
    details jsonb,
    traceparent text,
    CONSTRAINT build_state_check CHECK ((state = ANY (ARRAY['claimed'::text, 'dispatched'::text, 'running'::text, 'published'::text, 'yielded'::text, 'succeeded'::text, 'failed'::text, 'lost'::text, 'superseded'::text, 'cancelled'::text])))
);
ALTER TABLE quicksilver.build ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME quicksilver.build_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE quicksilver.canary (
    id bigint NOT NULL,
    bucket text NOT NULL,
    keys text[] NOT NULL,
    at timestamp with time zone NOT NULL,
    fast_state text NOT NULL,
    fast_lag double precision,
    durable_state text NOT NULL,
    durable_lag double precision,
    fault text,
    CONSTRAINT canary_durable_state_check CHECK ((durable_state = ANY (ARRAY['up'::text, 'late'::text, 'silent'::text, 'unknown'::text]))),
    CONSTRAINT canary_fast_state_check CHECK ((fast_state = ANY (ARRAY['up'::text, 'late'::text, 'silent'::text, 'unknown'::text])))
);
ALTER TABLE quicksilver.canary ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME quicksilver.canary_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE quicksilver.counter (
    name text NOT NULL,
    value bigint DEFAULT 0 NOT NULL
);
CREATE TABLE quicksilver.dataset (
    name text NOT NULL,
    is_declared boolean DEFAULT true NOT NULL,
    newest_first boolean DEFAULT false NOT NULL,
    max_running integer,
    priority integer DEFAULT 0 NOT NULL,
    paused_at timestamp with time zone,
    paused_by text
);
CREATE TABLE quicksilver.dispatcher (
    owner text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL
);
CREATE TABLE quicksilver.event (
    id bigint NOT NULL,
    identity bytea NOT NULL,
    event_name text NOT NULL,
    bucket text NOT NULL,
    key text NOT NULL,
    dataset text,
    dt date,
    generation bigint,
    etag text,
    version_id text,
    size bigint,
    sequencer text,
    event_at timestamp with time zone,
    received_at timestamp with time zone NOT NULL,
    fast_at timestamp with time zone,
    durable_at timestamp with time zone,
    deliveries integer DEFAULT 1 NOT NULL,
    source text NOT NULL,
    reason text NOT NULL
);
ALTER TABLE quicksilver.event ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME quicksilver.event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE quicksilver.gate_run (
    gate text NOT NULL,
    set_key text NOT NULL,
    generation bigint NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    flow_run_id uuid,
    fired_at timestamp with time zone
);
CREATE TABLE quicksilver.migration (
    number integer NOT NULL,
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE quicksilver.object (
    bucket text NOT NULL,
    key text NOT NULL,
    dataset text NOT NULL,
    dt date NOT NULL,
    etag text NOT NULL,
    version_id text,
    size bigint,
    last_modified timestamp with time zone,
    found_by text NOT NULL,
    seen_at timestamp with time zone NOT NULL
);
CREATE TABLE quicksilver.partition (
    dataset text NOT NULL,
    dt date NOT NULL,
    generation bigint DEFAULT 0 NOT NULL,
    built_generation bigint DEFAULT 0 NOT NULL,
    state text DEFAULT 'built'::text NOT NULL,
    wait_reason text,
    attempts integer DEFAULT 0 NOT NULL,
    error text,
    is_forced boolean DEFAULT false NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    dirty_since timestamp with time zone,
    changed_at timestamp with time zone,
    built_manifest jsonb,
    gone_at timestamp with time zone,
    flow_run_id uuid,
    put_at timestamp with time zone,
    received_at timestamp with time zone,
    dispatched_at timestamp with time zone,
    started_at timestamp with time zone,
    loaded_at timestamp with time zone,
    built_at timestamp with time zone,
    rows_bronze bigint,
    rows_silver bigint,
    rows_rejected bigint,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    traceparent text,
    CONSTRAINT partition_check CHECK (((built_generation >= 0) AND (built_generation <= generation))),
    CONSTRAINT partition_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'pending'::text, 'running'::text, 'built'::text, 'failed'::text])))
);
CREATE TABLE quicksilver.quarantine (
    id bigint NOT NULL,
    digest bytea NOT NULL,
    reason text NOT NULL,
    body bytea NOT NULL,
    lane text NOT NULL,
    source text NOT NULL,
    first_seen timestamp with time zone NOT NULL,
    last_seen timestamp with time zone NOT NULL,
    count bigint DEFAULT 1 NOT NULL
);
ALTER TABLE quicksilver.quarantine ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME quicksilver.quarantine_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE quicksilver.refusal (
    lane text NOT NULL,
    at timestamp with time zone NOT NULL
);
CREATE TABLE quicksilver.sweep (
    id bigint NOT NULL,
    dataset text NOT NULL,
    at timestamp with time zone NOT NULL,
    listed bigint NOT NULL,
    found bigint NOT NULL,
    gone bigint NOT NULL,
    partitions bigint NOT NULL,
    dts date[] NOT NULL
);
ALTER TABLE quicksilver.sweep ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME quicksilver.sweep_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
INSERT INTO quicksilver.announcement OVERRIDING SYSTEM VALUE VALUES
	(1, 'quicksilver.partition.landed', 'quicksilver.partition.nyc_tlc.yellow_tripdata.2024-01-01', '{"dt": "2024-01-01", "dataset": "nyc_tlc.yellow_tripdata", "generation": 1, "flow_run_id": "ddeb3c0c-bc87-4503-8f8c-2e98fb6c5c3e"}', '2026-11-21 15:45:04.062867+00', '2026-11-21 15:45:08.752868+00'),
	(2, 'quicksilver.partition.built', 'quicksilver.partition.nyc_tlc.yellow_tripdata.2024-01-01', '{"dt": "2024-01-01", "dataset": "nyc_tlc.yellow_tripdata", "generation": 1, "rows_silver": 10}', '2026-11-21 15:45:08.589018+00', '2026-11-21 15:45:08.752868+00'),
	(3, 'quicksilver.partition.landed', 'quicksilver.partition.nyc_tlc.yellow_tripdata.2024-01-01', '{"dt": "2024-01-01", "dataset": "nyc_tlc.yellow_tripdata", "generation": 2, "flow_run_id": "aadaaf0a-1018-444d-9019-2797825cac46"}', '2026-11-21 15:45:09.650082+00', '2026-11-21 15:45:15.639721+00'),
	(4, 'quicksilver.partition.landed', 'quicksilver.partition.nyc_tlc.yellow_tripdata.2024-02-01', '{"dt": "2024-02-01", "dataset": "nyc_tlc.yellow_tripdata", "generation": 1, "flow_run_id": "67e29cf9-453b-4502-939d-388c80805551"}', '2026-11-21 15:45:10.083407+00', '2026-11-21 15:45:15.639721+00'),
	(5, 'quicksilver.partition.built', 'quicksilver.partition.nyc_tlc.yellow_tripdata.2024-01-01', '{"dt": "2024-01-01", "dataset": "nyc_tlc.yellow_tripdata", "generation": 2, "rows_silver": 10}', '2026-11-21 15:45:15.512656+00', '2026-11-21 15:45:15.639721+00'),
	(6, 'quicksilver.partition.built', 'quicksilver.partition.nyc_tlc.yellow_tripdata.2024-02-01', '{"dt": "2024-02-01", "dataset": "nyc_tlc.yellow_tripdata", "generation": 1, "rows_silver": 10}', '2026-11-21 15:45:16.249394+00', '2026-11-21 15:45:16.364378+00'),
	(7, 'quicksilver.partition.landed', 'quicksilver.partition.nyc_tlc.yellow_tripdata.2024-03-01', '{"dt": "2024-03-01", "dataset": "nyc_tlc.yellow_tripdata", "generation": 1, "flow_run_id": "e8804e73-00ab-4459-927f-eae2d3bb5264"}', '2026-11-21 15:45:17.788311+00', '2026-11-21 15:45:22.567635+00'),
	(8, 'quicksilver.partition.failed', 'quicksilver.partition.nyc_tlc.yellow_tripdata.2024-03-01', '{"dt": "2024-03-01", "reason": "s3://upgrade/bronze/nyc_tlc/yellow_tripdata/dt=2024-03-01/data.parquet is no readable parquet file (Parquet magic bytes not found in footer. Either the file is corrupted or this is not a parquet file.); correct it and upload it again", "dataset": "nyc_tlc.yellow_tripdata", "generation": 1}', '2026-11-21 15:45:22.520443+00', '2026-11-21 15:45:22.567635+00'),
	(9, 'quicksilver.event.quarantined', 'quicksilver.quarantine.1', '{"lane": "push", "size": 8, "reason": "not-json", "source": "127.0.0.1"}', '2026-11-21 15:45:22.736146+00', '2026-11-21 15:45:23.103596+00'),
	(10, 'quicksilver.event.quarantined', 'quicksilver.quarantine.2', '{"lane": "push", "size": 17, "reason": "bad-record", "source": "127.0.0.1"}', '2026-11-21 15:45:23.012995+00', '2026-11-21 15:45:23.103596+00'),
	(11, 'quicksilver.partition.landed', 'quicksilver.partition.nyc_tlc.yellow_tripdata.2024-04-01', '{"dt": "2024-04-01", "dataset": "nyc_tlc.yellow_tripdata", "generation": 1, "flow_run_id": "0e2ce7e0-8b40-4ac3-9a49-eedd25f422f4"}', '2026-11-21 15:45:23.400198+00', '2026-11-21 15:45:28.270994+00'),
	(12, 'quicksilver.partition.landed', 'quicksilver.partition.nyc_tlc.yellow_tripdata.2024-05-01', '{"dt": "2024-05-01", "dataset": "nyc_tlc.yellow_tripdata", "generation": 1, "flow_run_id": "6711f641-1c5b-49b2-884d-19a984c54424"}', '2026-11-21 15:45:28.538285+00', '2026-11-21 15:45:28.699156+00');
INSERT INTO quicksilver.build OVERRIDING SYSTEM VALUE VALUES
	(1, 'nyc_tlc.yellow_tripdata', '2024-01-01', 1, 1, 'succeeded', 'nyc_tlc.yellow_tripdata/2024-01-01:1:1', 'vm:15362:0f26d9f3', 'ddeb3c0c-bc87-4503-8f8c-2e98fb6c5c3e', '[{"key": "bronze/nyc_tlc/yellow_tripdata/dt=2024-01-01/data.parquet", "etag": "7bbb598f978a772ebb9167aa3b5a751c", "size": 6941, "version": null}]', '2026-11-21 15:45:03.754+00', '2026-11-21 15:45:03.75757+00', '2026-11-21 15:45:03.791315+00', '2026-11-21 15:45:04.062867+00', '2026-11-21 15:45:06.118585+00', '2026-11-21 15:45:06.613191+00', '2026-11-21 15:45:08.589018+00', '2026-11-21 15:45:09.397755+00', '2026-11-21 16:15:06.118585+00', '2026-11-21 15:45:08.834118+00', NULL, NULL, 12, 10, 2, '{"dbt": [{"kind": "model", "name": "yellow_trips_judged", "rows": 12, "status": "success", "seconds": 0.3753}, {"kind": "model", "name": "yellow_trips_rejected", "rows": 2, "status": "success", "seconds": 0.1962}, {"kind": "model", "name": "yellow_trips", "rows": 10, "status": "success", "seconds": 0.2151}, {"kind": "test", "name": "bronze_is_silver_plus_rejected", "rows": 0, "status": "pass", "seconds": 0.1733}, {"kind": "test", "name": "unique_yellow_trips_trip_id", "rows": 0, "status": "pass", "seconds": 0.172}, {"kind": "model", "name": "daily_payments", "rows": 8, "status": "success", "seconds": 0.181}, {"kind": "model", "name": "daily_revenue", "rows": 8, "status": "success", "seconds": 0.1989}, {"kind": "model", "name": "zone_hours", "rows": 10, "status": "success", "seconds": 0.0806}, {"kind": "test", "name": "marts_count_every_trip", "rows": 0, "status": "pass", "seconds": 0.0578}], "timings": {"dbt": 1.8473, "load": 0.21, "open": 0.0659, "begin": 0.0512, "total": 2.2831, "publish": 0.1087}, "warnings": [], "new_columns": [], "rejected_by_reason": {"negative_total": 2}}', NULL),
	(2, 'nyc_tlc.yellow_tripdata', '2024-01-01', 2, 1, 'succeeded', 'nyc_tlc.yellow_tripdata/2024-01-01:2:1', 'vm:15362:0f26d9f3', 'aadaaf0a-1018-444d-9019-2797825cac46', '[{"key": "bronze/nyc_tlc/yellow_tripdata/dt=2024-01-01/data.parquet", "etag": "bc53ea999c8905e38704d0de87415ff6", "size": 6938, "version": null}]', '2026-11-21 15:45:09.462+00', '2026-11-21 15:45:09.463947+00', '2026-11-21 15:45:09.477004+00', '2026-11-21 15:45:09.650082+00', '2026-11-21 15:45:12.430478+00', '2026-11-21 15:45:12.990914+00', '2026-11-21 15:45:15.512656+00', '2026-11-21 15:45:16.563915+00', '2026-11-21 16:15:12.430478+00', '2026-11-21 15:45:15.768639+00', NULL, NULL, 12, 10, 2, '{"dbt": [{"kind": "model", "name": "yellow_trips_judged", "rows": 12, "status": "success", "seconds": 0.5813}, {"kind": "model", "name": "yellow_trips_rejected", "rows": 2, "status": "success", "seconds": 0.1791}, {"kind": "model", "name": "yellow_trips", "rows": 10, "status": "success", "seconds": 0.1943}, {"kind": "test", "name": "unique_yellow_trips_trip_id", "rows": 0, "status": "pass", "seconds": 0.191}, {"kind": "test", "name": "bronze_is_silver_plus_rejected", "rows": 0, "status": "pass", "seconds": 0.2355}, {"kind": "model", "name": "daily_payments", "rows": 10, "status": "success", "seconds": 0.1429}, {"kind": "model", "name": "daily_revenue", "rows": 10, "status": "success", "seconds": 0.1503}, {"kind": "model", "name": "zone_hours", "rows": 10, "status": "success", "seconds": 0.131}, {"kind": "test", "name": "marts_count_every_trip", "rows": 0, "status": "pass", "seconds": 0.0773}], "timings": {"dbt": 2.417, "load": 0.251, "open": 0.0517, "begin": 0.067, "total": 2.8722, "publish": 0.0855}, "warnings": [], "new_columns": [], "rejected_by_reason": {"negative_total": 2}}', NULL),
	(4, 'nyc_tlc.yellow_tripdata', '2024-03-01', 1, 1, 'failed', 'nyc_tlc.yellow_tripdata/2024-03-01:1:1', 'vm:15362:0f26d9f3', 'e8804e73-00ab-4459-927f-eae2d3bb5264', '[{"key": "bronze/nyc_tlc/yellow_tripdata/dt=2024-03-01/data.parquet", "etag": "f5c0dd30cdd14624a8028ea469a033f4", "size": 18, "version": null}]', '2026-11-21 15:45:17.37+00', '2026-11-21 15:45:17.371828+00', '2026-11-21 15:45:17.378799+00', '2026-11-21 15:45:17.788311+00', '2026-11-21 15:45:19.888474+00', NULL, NULL, '2026-11-21 15:45:22.520443+00', '2026-11-21 16:15:19.888474+00', NULL, NULL, 's3://upgrade/bronze/nyc_tlc/yellow_tripdata/dt=2024-03-01/data.parquet is no readable parquet file (Parquet magic bytes not found in footer. Either the file is corrupted or this is not a parquet file.); correct it and upload it again', NULL, NULL, NULL, NULL, NULL),
	(6, 'nyc_tlc.yellow_tripdata', '2024-05-01', 1, 1, 'dispatched', 'nyc_tlc.yellow_tripdata/2024-05-01:1:1', 'vm:15362:0f26d9f3', '6711f641-1c5b-49b2-884d-19a984c54424', '[{"key": "bronze/nyc_tlc/yellow_tripdata/dt=2024-05-01/data.parquet", "etag": "3d7124734a00e765b8893f55c4f5fe59", "size": 6944, "version": null}]', '2026-11-21 15:45:28.158+00', '2026-11-21 15:45:28.161407+00', '2026-11-21 15:45:28.227518+00', '2026-11-21 15:45:28.538285+00', NULL, NULL, NULL, NULL, '2026-11-21 16:45:28.538285+00', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(3, 'nyc_tlc.yellow_tripdata', '2024-02-01', 1, 1, 'succeeded', 'nyc_tlc.yellow_tripdata/2024-02-01:1:1', 'vm:15362:0f26d9f3', '67e29cf9-453b-4502-939d-388c80805551', '[{"key": "bronze/nyc_tlc/yellow_tripdata/dt=2024-02-01/data.parquet", "etag": "d44ee335ca1114c0f0d11f9a3306a190", "size": 6927, "version": null}]', '2026-11-21 15:45:09.471+00', '2026-11-21 15:45:09.476007+00', '2026-11-21 15:45:09.673479+00', '2026-11-21 15:45:10.083407+00', '2026-11-21 15:45:12.99876+00', '2026-11-21 15:45:13.569841+00', '2026-11-21 15:45:16.249394+00', '2026-11-21 15:45:17.324234+00', '2026-11-21 16:15:12.99876+00', '2026-11-21 15:45:16.712433+00', NULL, NULL, 12, 10, 2, '{"dbt": [{"kind": "model", "name": "yellow_trips_judged", "rows": 12, "status": "success", "seconds": 0.7115}, {"kind": "model", "name": "yellow_trips", "rows": 10, "status": "success", "seconds": 0.2256}, {"kind": "model", "name": "yellow_trips_rejected", "rows": 2, "status": "success", "seconds": 0.2183}, {"kind": "test", "name": "bronze_is_silver_plus_rejected", "rows": 0, "status": "pass", "seconds": 0.2555}, {"kind": "test", "name": "unique_yellow_trips_trip_id", "rows": 0, "status": "pass", "seconds": 0.2712}, {"kind": "model", "name": "daily_revenue", "rows": 7, "status": "success", "seconds": 0.1045}, {"kind": "model", "name": "daily_payments", "rows": 8, "status": "success", "seconds": 0.1957}, {"kind": "model", "name": "zone_hours", "rows": 10, "status": "success", "seconds": 0.1599}, {"kind": "test", "name": "marts_count_every_trip", "rows": 0, "status": "pass", "seconds": 0.0568}], "timings": {"dbt": 2.5137, "load": 0.269, "open": 0.0514, "begin": 0.0582, "total": 3.0307, "publish": 0.1382}, "warnings": [], "new_columns": [], "rejected_by_reason": {"negative_total": 2}}', NULL),
	(5, 'nyc_tlc.yellow_tripdata', '2024-04-01', 1, 1, 'running', 'nyc_tlc.yellow_tripdata/2024-04-01:1:1', 'vm:15362:0f26d9f3', '0e2ce7e0-8b40-4ac3-9a49-eedd25f422f4', '[{"key": "bronze/nyc_tlc/yellow_tripdata/dt=2024-04-01/data.parquet", "etag": "916445baf8e44ecb6a9a669f8aa56de2", "size": 6942, "version": null}]', '2026-11-21 15:45:23.037+00', '2026-11-21 15:45:23.037959+00', '2026-11-21 15:45:23.119702+00', '2026-11-21 15:45:23.400198+00', '2026-11-21 15:45:25.76297+00', NULL, NULL, NULL, '2026-11-21 16:15:25.76297+00', '2026-11-21 15:45:28.171738+00', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO quicksilver.dataset VALUES
	('nyc_tlc.yellow_tripdata', true, false, NULL, 0, NULL, NULL);
INSERT INTO quicksilver.dispatcher VALUES
	('vm:15362:0f26d9f3', '2026-11-21 15:45:03.072079+00', '2026-11-21 15:48:14.353633+00');
INSERT INTO quicksilver.event OVERRIDING SYSTEM VALUE VALUES
	(1, '\x2bb7622a879b5aea77296afe9501395b9f9b58588108e0f15e08744b82b7f903', 'ObjectCreated:Put', 'upgrade', 'bronze/nyc_tlc/yellow_tripdata/dt=2024-01-01/data.parquet', 'nyc_tlc.yellow_tripdata', '2024-01-01', 1, '7bbb598f978a772ebb9167aa3b5a751c', NULL, 6941, '18EA19EC3438F4DB', '2026-11-21 15:45:03.754+00', '2026-11-21 15:45:03.75757+00', '2026-11-21 15:45:03.75757+00', '2026-11-21 15:45:03.928705+00', 2, '127.0.0.1', 'fired'),
	(3, '\xa7d1f97ab65ed070a58b055aca9bdc2d45ddaa69644441b48369fa11fd31f70b', 'ObjectCreated:Put', 'upgrade', 'bronze/nyc_tlc/yellow_tripdata/dt=2024-01-01/data.parquet', 'nyc_tlc.yellow_tripdata', '2024-01-01', 2, 'bc53ea999c8905e38704d0de87415ff6', NULL, 6938, '18EA19ED886D4FC9', '2026-11-21 15:45:09.462+00', '2026-11-21 15:45:09.463947+00', '2026-11-21 15:45:09.463947+00', '2026-11-21 15:45:09.931869+00', 2, '127.0.0.1', 'fired'),
	(4, '\xb70cd3dba8ad177d3ba05c39c45e389c4ea3a2ae25174adfa35c1d89b18e6f3c', 'ObjectCreated:Put', 'upgrade', 'bronze/nyc_tlc/yellow_tripdata/dt=2024-02-01/data.parquet', 'nyc_tlc.yellow_tripdata', '2024-02-01', 1, 'd44ee335ca1114c0f0d11f9a3306a190', NULL, 6927, '18EA19ED89CF1F4B', '2026-11-21 15:45:09.471+00', '2026-11-21 15:45:09.476007+00', '2026-11-21 15:45:09.476007+00', '2026-11-21 15:45:09.999832+00', 2, '127.0.0.1', 'fired'),
	(7, '\xb22b6028cfe796a012c12cc92f3dfd648c5903e92e6d1d433fb73a6c27aa1f17', 'ObjectCreated:Put', 'upgrade', 'bronze/nyc_tlc/yellow_tripdata/dt=2024-03-01/data.parquet', 'nyc_tlc.yellow_tripdata', '2024-03-01', 1, 'f5c0dd30cdd14624a8028ea469a033f4', NULL, 18, '18EA19EF604304A2', '2026-11-21 15:45:17.37+00', '2026-11-21 15:45:17.371828+00', '2026-11-21 15:45:17.371828+00', '2026-11-21 15:45:18.927231+00', 2, '127.0.0.1', 'failed'),
	(9, '\xf7aa123d3ac3247ec414c348540e4792eef7c2db86cabcaf54171ba424b682fe', 'ObjectCreated:Put', 'upgrade', 'bronze/nyc_tlc/yellow_tripdata/dt=2024-04-01/data.parquet', 'nyc_tlc.yellow_tripdata', '2024-04-01', 1, '916445baf8e44ecb6a9a669f8aa56de2', NULL, 6942, '18EA19F0B251AD52', '2026-11-21 15:45:23.037+00', '2026-11-21 15:45:23.037959+00', '2026-11-21 15:45:23.037959+00', '2026-11-21 15:45:24.926905+00', 2, '127.0.0.1', 'fired'),
	(11, '\x19c9feb4d6bee16129d58ec1a2213cfc6377ef56a2af1ba14e0bcf2a5c515c38', 'ObjectCreated:Put', 'upgrade', 'bronze/nyc_tlc/yellow_tripdata/dt=2024-05-01/data.parquet', 'nyc_tlc.yellow_tripdata', '2024-05-01', 1, '3d7124734a00e765b8893f55c4f5fe59', NULL, 6944, '18EA19F1E31E8BEA', '2026-11-21 15:45:28.158+00', '2026-11-21 15:45:28.161407+00', '2026-11-21 15:45:28.161407+00', '2026-11-21 15:45:30.92705+00', 2, '127.0.0.1', 'fired'),
	(12, '\x870d1690b6e891bcbc5a8bc7e69938c8a0c75938214439e841934095e1636a23', 'ObjectCreated:Put', 'upgrade', 'bronze/nyc_tlc/yellow_tripdata/dt=2024-06-01/data.parquet', 'nyc_tlc.yellow_tripdata', '2024-06-01', 1, '98b42a05aca142bd9489f17677aa1120', NULL, 6914, '18EA19F1FF1B3694', '2026-11-21 15:45:28.62+00', '2026-11-21 15:45:28.622076+00', '2026-11-21 15:45:28.622076+00', '2026-11-21 15:45:30.938611+00', 2, '127.0.0.1', 'settling');
INSERT INTO quicksilver.migration VALUES
	(1, '0001_ledger', '2026-11-21 15:44:13.263125+00'),
	(2, '0002_sweeps', '2026-11-21 15:44:13.311118+00'),
	(3, '0003_watch', '2026-11-21 15:44:13.323121+00'),
	(6, '0006_announcements', '2026-11-21 15:44:13.351344+00'),
	(7, '0007_refusals', '2026-11-21 15:44:13.359346+00');
INSERT INTO quicksilver.object VALUES
	('upgrade', 'bronze/nyc_tlc/yellow_tripdata/dt=2024-01-01/data.parquet', 'nyc_tlc.yellow_tripdata', '2024-01-01', 'bc53ea999c8905e38704d0de87415ff6', NULL, 6938, '2026-11-21 15:45:09.462+00', 'fast', '2026-11-21 15:45:09.463947+00'),
	('upgrade', 'bronze/nyc_tlc/yellow_tripdata/dt=2024-02-01/data.parquet', 'nyc_tlc.yellow_tripdata', '2024-02-01', 'd44ee335ca1114c0f0d11f9a3306a190', NULL, 6927, '2026-11-21 15:45:09.471+00', 'fast', '2026-11-21 15:45:09.476007+00'),
	('upgrade', 'bronze/nyc_tlc/yellow_tripdata/dt=2024-03-01/data.parquet', 'nyc_tlc.yellow_tripdata', '2024-03-01', 'f5c0dd30cdd14624a8028ea469a033f4', NULL, 18, '2026-11-21 15:45:17.37+00', 'fast', '2026-11-21 15:45:17.371828+00'),
	('upgrade', 'bronze/nyc_tlc/yellow_tripdata/dt=2024-04-01/data.parquet', 'nyc_tlc.yellow_tripdata', '2024-04-01', '916445baf8e44ecb6a9a669f8aa56de2', NULL, 6942, '2026-11-21 15:45:23.037+00', 'fast', '2026-11-21 15:45:23.037959+00'),
	('upgrade', 'bronze/nyc_tlc/yellow_tripdata/dt=2024-05-01/data.parquet', 'nyc_tlc.yellow_tripdata', '2024-05-01', '3d7124734a00e765b8893f55c4f5fe59', NULL, 6944, '2026-11-21 15:45:28.158+00', 'fast', '2026-11-21 15:45:28.161407+00'),
	('upgrade', 'bronze/nyc_tlc/yellow_tripdata/dt=2024-06-01/data.parquet', 'nyc_tlc.yellow_tripdata', '2024-06-01', '98b42a05aca142bd9489f17677aa1120', NULL, 6914, '2026-11-21 15:45:28.62+00', 'fast', '2026-11-21 15:45:28.622076+00');
INSERT INTO quicksilver.partition VALUES
	('nyc_tlc.yellow_tripdata', '2024-01-01', 2, 2, 'built', NULL, 0, NULL, false, 0, '2026-11-21 15:45:09.466558+00', NULL, '2026-11-21 15:45:09.463947+00', '[{"key": "bronze/nyc_tlc/yellow_tripdata/dt=2024-01-01/data.parquet", "etag": "bc53ea999c8905e38704d0de87415ff6", "size": 6938, "version": null}]', NULL, 'aadaaf0a-1018-444d-9019-2797825cac46', '2026-11-21 15:45:09.462+00', '2026-11-21 15:45:09.463947+00', '2026-11-21 15:45:09.650082+00', '2026-11-21 15:45:12.430478+00', '2026-11-21 15:45:12.990914+00', '2026-11-21 15:45:15.512656+00', 12, 10, 2, '2026-11-21 15:45:15.512656+00', NULL),
	('nyc_tlc.yellow_tripdata', '2024-02-01', 1, 1, 'built', NULL, 0, NULL, false, 0, '2026-11-21 15:45:09.512462+00', NULL, '2026-11-21 15:45:09.476007+00', '[{"key": "bronze/nyc_tlc/yellow_tripdata/dt=2024-02-01/data.parquet", "etag": "d44ee335ca1114c0f0d11f9a3306a190", "size": 6927, "version": null}]', NULL, '67e29cf9-453b-4502-939d-388c80805551', '2026-11-21 15:45:09.471+00', '2026-11-21 15:45:09.476007+00', '2026-11-21 15:45:10.083407+00', '2026-11-21 15:45:12.99876+00', '2026-11-21 15:45:13.569841+00', '2026-11-21 15:45:16.249394+00', 12, 10, 2, '2026-11-21 15:45:16.249394+00', NULL),
	('nyc_tlc.yellow_tripdata', '2024-03-01', 1, 0, 'failed', NULL, 1, 's3://upgrade/bronze/nyc_tlc/yellow_tripdata/dt=2024-03-01/data.parquet is no readable parquet file (Parquet magic bytes not found in footer. Either the file is corrupted or this is not a parquet file.); correct it and upload it again', false, 0, 'infinity', '2026-11-21 15:45:17.371828+00', '2026-11-21 15:45:17.371828+00', NULL, NULL, 'e8804e73-00ab-4459-927f-eae2d3bb5264', '2026-11-21 15:45:17.37+00', '2026-11-21 15:45:17.371828+00', '2026-11-21 15:45:17.788311+00', '2026-11-21 15:45:19.888474+00', NULL, NULL, NULL, NULL, NULL, '2026-11-21 15:45:22.520443+00', NULL),
	('nyc_tlc.yellow_tripdata', '2024-04-01', 1, 0, 'running', NULL, 0, NULL, false, 0, '2026-11-21 15:45:23.063754+00', '2026-11-21 15:45:23.037959+00', '2026-11-21 15:45:23.037959+00', NULL, NULL, '0e2ce7e0-8b40-4ac3-9a49-eedd25f422f4', '2026-11-21 15:45:23.037+00', '2026-11-21 15:45:23.037959+00', '2026-11-21 15:45:23.400198+00', '2026-11-21 15:45:25.76297+00', NULL, NULL, NULL, NULL, NULL, '2026-11-21 15:45:25.76297+00', NULL),
	('nyc_tlc.yellow_tripdata', '2024-05-01', 1, 0, 'running', NULL, 0, NULL, false, 0, '2026-11-21 15:45:28.207329+00', '2026-11-21 15:45:28.161407+00', '2026-11-21 15:45:28.161407+00', NULL, NULL, '6711f641-1c5b-49b2-884d-19a984c54424', '2026-11-21 15:45:28.158+00', '2026-11-21 15:45:28.161407+00', '2026-11-21 15:45:28.538285+00', NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-21 15:45:28.538285+00', NULL),
	('nyc_tlc.yellow_tripdata', '2024-06-01', 1, 0, 'pending', NULL, 0, NULL, false, 0, '2026-11-21 15:45:28.645066+00', '2026-11-21 15:45:28.622076+00', '2026-11-21 15:45:28.622076+00', NULL, NULL, NULL, '2026-11-21 15:45:28.62+00', '2026-11-21 15:45:28.622076+00', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-21 15:45:28.622076+00', NULL);
INSERT INTO quicksilver.quarantine OVERRIDING SYSTEM VALUE VALUES
	(1, '\xe9b211a27b5e75d7ddc4333ef7ffdc421e40521e8387f95451f20266b8707549', 'not-json', '\x6e6f206576656e74', 'push', '127.0.0.1', '2026-11-21 15:45:22.727421+00', '2026-11-21 15:45:22.727421+00', 1),
	(2, '\x4021c11b659591478c3e9782f85ccb77b10e980cb47ae8a0b983e37e41eb7ace', 'bad-record', '\x7b225265636f726473223a205b7b7d5d7d', 'push', '127.0.0.1', '2026-11-21 15:45:23.004715+00', '2026-11-21 15:45:23.004715+00', 1);
INSERT INTO quicksilver.sweep OVERRIDING SYSTEM VALUE VALUES
	(1, 'nyc_tlc.yellow_tripdata', '2026-11-21 15:45:03.038722+00', 0, 0, 0, 0, '{}');
SELECT pg_catalog.setval('quicksilver.action_id_seq', 1, false);
SELECT pg_catalog.setval('quicksilver.alert_id_seq', 1, false);
SELECT pg_catalog.setval('quicksilver.announcement_id_seq', 12, true);
SELECT pg_catalog.setval('quicksilver.build_id_seq', 6, true);
SELECT pg_catalog.setval('quicksilver.canary_id_seq', 1, false);
SELECT pg_catalog.setval('quicksilver.event_id_seq', 14, true);
SELECT pg_catalog.setval('quicksilver.quarantine_id_seq', 2, true);
SELECT pg_catalog.setval('quicksilver.sweep_id_seq', 1, true);
ALTER TABLE ONLY quicksilver.action
    ADD CONSTRAINT action_pkey PRIMARY KEY (id);
ALTER TABLE ONLY quicksilver.alert
    ADD CONSTRAINT alert_pkey PRIMARY KEY (id);
ALTER TABLE ONLY quicksilver.announcement
    ADD CONSTRAINT announcement_pkey PRIMARY KEY (id);
ALTER TABLE ONLY quicksilver.build
    ADD CONSTRAINT build_idempotency_key_key UNIQUE (idempotency_key);
ALTER TABLE ONLY quicksilver.build
    ADD CONSTRAINT build_pkey PRIMARY KEY (id);
ALTER TABLE ONLY quicksilver.canary
    ADD CONSTRAINT canary_pkey PRIMARY KEY (id);
ALTER TABLE ONLY quicksilver.counter
    ADD CONSTRAINT counter_pkey PRIMARY KEY (name);
ALTER TABLE ONLY quicksilver.dataset
    ADD CONSTRAINT dataset_pkey PRIMARY KEY (name);
ALTER TABLE ONLY quicksilver.dispatcher
    ADD CONSTRAINT dispatcher_pkey PRIMARY KEY (owner);
ALTER TABLE ONLY quicksilver.event
    ADD CONSTRAINT event_identity_key UNIQUE (identity);
ALTER TABLE ONLY quicksilver.event
    ADD CONSTRAINT event_pkey PRIMARY KEY (id);
ALTER TABLE ONLY quicksilver.gate_run
    ADD CONSTRAINT gate_run_pkey PRIMARY KEY (gate, set_key, generation);
ALTER TABLE ONLY quicksilver.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (number);
ALTER TABLE ONLY quicksilver.object
    ADD CONSTRAINT object_pkey PRIMARY KEY (bucket, key);
ALTER TABLE ONLY quicksilver.partition
    ADD CONSTRAINT partition_pkey PRIMARY KEY (dataset, dt);
ALTER TABLE ONLY quicksilver.quarantine
    ADD CONSTRAINT quarantine_digest_key UNIQUE (digest);
ALTER TABLE ONLY quicksilver.quarantine
    ADD CONSTRAINT quarantine_pkey PRIMARY KEY (id);
ALTER TABLE ONLY quicksilver.refusal
    ADD CONSTRAINT refusal_pkey PRIMARY KEY (lane);
ALTER TABLE ONLY quicksilver.sweep
    ADD CONSTRAINT sweep_pkey PRIMARY KEY (id);
CREATE UNIQUE INDEX alert_one_raised ON quicksilver.alert USING btree (kind, subject) WHERE (cleared_at IS NULL);
CREATE INDEX announcement_unsent ON quicksilver.announcement USING btree (id) WHERE (sent_at IS NULL);
CREATE INDEX build_active ON quicksilver.build USING btree (state) WHERE (state = ANY (ARRAY['claimed'::text, 'dispatched'::text, 'running'::text, 'published'::text, 'yielded'::text]));
CREATE INDEX build_flow_run ON quicksilver.build USING btree (flow_run_id);
CREATE UNIQUE INDEX build_one_active ON quicksilver.build USING btree (dataset, dt) WHERE (state = ANY (ARRAY['claimed'::text, 'dispatched'::text, 'running'::text, 'published'::text, 'yielded'::text]));
CREATE INDEX build_partition ON quicksilver.build USING btree (dataset, dt, id);
CREATE INDEX canary_bucket ON quicksilver.canary USING btree (bucket, id);
CREATE INDEX event_key ON quicksilver.event USING btree (key, id);
CREATE INDEX event_partition ON quicksilver.event USING btree (dataset, dt, id);
CREATE INDEX event_received ON quicksilver.event USING btree (received_at);
CREATE INDEX event_undecided ON quicksilver.event USING btree (dataset, dt) WHERE (reason = ANY (ARRAY['settling'::text, 'paused'::text]));
CREATE INDEX object_partition ON quicksilver.object USING btree (dataset, dt);
CREATE INDEX partition_dirty ON quicksilver.partition USING btree (priority DESC, dirty_since) WHERE (state = ANY (ARRAY['waiting'::text, 'pending'::text]));
CREATE INDEX quarantine_last_seen ON quicksilver.quarantine USING btree (last_seen);
CREATE INDEX sweep_dataset ON quicksilver.sweep USING btree (dataset, id);
ALTER TABLE ONLY quicksilver.build
    ADD CONSTRAINT build_dataset_dt_fkey FOREIGN KEY (dataset, dt) REFERENCES quicksilver.partition(dataset, dt);
ALTER TABLE ONLY quicksilver.object
    ADD CONSTRAINT object_dataset_dt_fkey FOREIGN KEY (dataset, dt) REFERENCES quicksilver.partition(dataset, dt);

CREATE SCHEMA pgconvoy;
COMMENT ON SCHEMA pgconvoy IS 'pgconvoy ledger, layout 6';
-- One row for each run that the target knows of: a copy, and a comparison beside it.
CREATE TABLE pgconvoy.run (
    run text PRIMARY KEY,           -- name of the run; that of a comparison ends in :verify
    uid text NOT NULL,              -- tells it from others of that name
    state text NOT NULL,            -- planning, running, complete, failed or cancelled
    source text NOT NULL,           -- fingerprint: system identifier and name of the database
    target text NOT NULL,           -- the same of the target
    version text NOT NULL,          -- of the planner
    config_digest text NOT NULL,    -- of all settings, secrets left out
    without jsonb NOT NULL,         -- what of the source was left out when it was read
    sections text[] NOT NULL,       -- that are made; empty means all
    digest_key bytea NOT NULL,      -- that rows are hashed under
    target_start timestamptz NOT NULL,  -- a later postmaster means that commits may be lost
    planner text,                   -- host/pid of the last planner that owned the run
    paused bool NOT NULL DEFAULT false, -- nothing is given out
    caps jsonb NOT NULL DEFAULT '{}',   -- by stage, where planner scale has set one
    limits jsonb NOT NULL DEFAULT '{}', -- by name, where planner limit has set one
    throttle jsonb NOT NULL DEFAULT '{}',   -- what limits do to the run, as its planner has last said
    wish text NOT NULL DEFAULT '',  -- drain or now: somebody wants the run cancelled
    inconsistent text,              -- why rows may be of different snapshots, by a person's explicit word
    created_at timestamptz NOT NULL DEFAULT now(),  -- when the ledger was written
    finished_at timestamptz         -- when the run ended, complete or not
);
-- Of a run of several databases, each of which has a ledger of its own.
CREATE TABLE pgconvoy.instance (
    run text PRIMARY KEY,           -- name of the run
    uid text NOT NULL,              -- of the run of all of them
    databases text[] NOT NULL,      -- in the order of the run
    complete bool NOT NULL DEFAULT false    -- all of them are, and the ledgers are being dropped
);
-- A crash of the target empties it, as it empties every unlogged table that was copied.
CREATE UNLOGGED TABLE pgconvoy.intact (
    run text PRIMARY KEY            -- a run that has lost no unlogged table to a crash
);
-- The snapshots that rows were read in: one, unless it was lost.
CREATE TABLE pgconvoy.snapshot (
    run text NOT NULL,              -- name of the run
    id int NOT NULL,                -- number, from 1
    name text NOT NULL,             -- of the planner that took it; keepers have others
    pg_snapshot text NOT NULL,      -- pg_current_snapshot() of it
    timeline text NOT NULL,         -- with the next three: what proves later that the source has not changed
    lsn text NOT NULL,              -- position of the source in its WAL
    durable bool NOT NULL,          -- what it shows was on the source's disk
    replayed bool NOT NULL,         -- the source is a standby, and lsn is up to where it had replayed
    same_as int,                    -- an older snapshot that is proven to show the same
    taken_at timestamptz NOT NULL DEFAULT now(),    -- when it was taken
    released_at timestamptz,        -- every row is read
    lost_at timestamptz,            -- nobody holds it any more
    PRIMARY KEY (run, id)
);
-- What workers have in hand, for as long as they say so. Sessions do not outlive a crash of the target either.
CREATE UNLOGGED TABLE pgconvoy.lease (
    run text NOT NULL,              -- name of the run
    task text COLLATE "C" NOT NULL, -- id of the task
    worker text NOT NULL,           -- process that has it
    target_pid int NOT NULL,        -- its session on the target
    target_start text NOT NULL,     -- backend_start: a pid alone may be of another session by now
    source_pid int,                 -- its session on the source, if the task has one
    source_start text,              -- backend_start of that one
    bytes int8 NOT NULL,            -- of COPY data so far
    moved_at timestamptz NOT NULL,  -- when bytes last grew
    beat_at timestamptz NOT NULL,   -- when the worker last said so
    since timestamptz NOT NULL,     -- when it got the task
    PRIMARY KEY (run, task, worker)
);
-- Worker processes, for as long as they say that they are alive.
CREATE UNLOGGED TABLE pgconvoy.worker (
    run text NOT NULL,              -- name of the run
    worker text NOT NULL,           -- the process
    beat_at timestamptz NOT NULL,   -- when it last said so
    bytes_per_second int8 NOT NULL, -- that it moves
    slowed bool NOT NULL,           -- it could have moved more, had its pace let it
    share int8,                     -- bytes per second that it may move; null: the planner has not divided the limit since it came
    PRIMARY KEY (run, worker)
);
-- Every task of a run, and what became of it.
CREATE TABLE pgconvoy.task (
    run text NOT NULL,              -- name of the run
    id text COLLATE "C" NOT NULL,    -- ordered by bytes: the pieces of a bundle are a range
    kind text NOT NULL,             -- what it does: copy, bundle, index and so on
    stage text NOT NULL,            -- consumer of the queue that gives it out
    grp text NOT NULL,              -- group that others wait for
    wave text NOT NULL,             -- group that spans the run
    bucket int NOT NULL,            -- a slice of the plan: whether a wave is open is mostly known from one
    spec jsonb NOT NULL,            -- all that a worker has to know, SQL among it
    weight int8 NOT NULL,           -- estimated cost in bytes; larger ones are given out first
    state text NOT NULL,            -- pending, ready, done or failed; running is no state
    attempts int NOT NULL DEFAULT 0,    -- how often it has failed
    last_error text,                -- why, the last time
    worker text,                    -- process that did it, or tried last
    rows int8,                      -- copied or compared
    bytes int8,                     -- of COPY data
    snapshot_id int,                -- snapshot that its rows were read in
    again bool NOT NULL DEFAULT false,  -- it was done before, and what it made but the rows is still there
    started_at timestamptz,         -- of the attempt that did it
    done_at timestamptz,            -- when its effect was committed
    PRIMARY KEY (run, id)
);
CREATE INDEX task_open_grp ON pgconvoy.task (run, grp) WHERE state <> 'done';
CREATE INDEX task_open_wave ON pgconvoy.task (run, wave, bucket) WHERE state <> 'done';
-- What tasks wait for: all tasks of a group, or of a wave.
CREATE TABLE pgconvoy.need (
    run text NOT NULL,              -- name of the run
    task text COLLATE "C" NOT NULL, -- id of the task that waits
    grp text NOT NULL,              -- group or wave
    PRIMARY KEY (run, task, grp)
);
CREATE INDEX need_grp ON pgconvoy.need (run, grp);
-- What was copied, by task and table.
CREATE TABLE pgconvoy.copied (
    run text NOT NULL,              -- name of the run
    task text COLLATE "C" NOT NULL, -- id of the task that copied
    schema text NOT NULL,           -- of the table
    name text NOT NULL,             -- of the table
    rows int8 NOT NULL,             -- as both servers reported them
    bytes int8 NOT NULL,            -- of COPY data
    digest text,                    -- of the rows as the source sent them, if that was asked for
    PRIMARY KEY (run, task, schema, name)
);
CREATE INDEX copied_name ON pgconvoy.copied (run, schema, name);
-- What tables, or parts of them, hold on one side.
CREATE TABLE pgconvoy.measured (
    run text NOT NULL,              -- name of the run
    task text COLLATE "C" NOT NULL, -- id of the task that measured
    side text NOT NULL,             -- source or target
    schema text NOT NULL,           -- of the table
    name text NOT NULL,             -- of the table
    rows int8 NOT NULL,             -- that were found
    digest text,                    -- of these rows, if that was asked for
    PRIMARY KEY (run, task, schema, name)
);
CREATE INDEX measured_name ON pgconvoy.measured (run, schema, name);
-- Tables that a comparison has found to differ.
CREATE TABLE pgconvoy.difference (
    run text NOT NULL,              -- name of the comparison
    schema text NOT NULL,           -- of the table
    name text NOT NULL,             -- of the table
    detail bytea NOT NULL,          -- JSON; as bytes, since it holds text of the source in whatever encoding the target has
    PRIMARY KEY (run, schema, name)
);
-- The tables of the plan.
CREATE TABLE pgconvoy.planned (
    run text NOT NULL,              -- name of the run
    schema text NOT NULL,           -- of the table
    name text NOT NULL,             -- of the table
    bytes int8 NOT NULL,            -- heap and TOAST on the source
    parts int NOT NULL,             -- that it is copied in
    indexes int NOT NULL,           -- that it has
    bundle text NOT NULL,           -- that it travels in, empty if it does not
    unlogged bool NOT NULL,         -- a crash of the target empties it
    PRIMARY KEY (run, schema, name)
);
-- What is not copied, and why.
CREATE TABLE pgconvoy.skipped (
    run text NOT NULL,              -- name of the run
    id int NOT NULL,                -- number, from 1
    object text NOT NULL,           -- what it is
    reason text NOT NULL,           -- for people
    PRIMARY KEY (run, id)
);
-- The schema archive, as pg_dump wrote it, in pieces.
CREATE TABLE pgconvoy.archive (
    run text NOT NULL,              -- name of the run
    id int NOT NULL,                -- number of the piece
    data bytea NOT NULL,            -- the piece
    PRIMARY KEY (run, id)
);

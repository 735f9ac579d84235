CREATE SCHEMA pgconvoy;
COMMENT ON SCHEMA pgconvoy IS 'pgconvoy ledger, layout 5';
CREATE TABLE pgconvoy.run (
    run text PRIMARY KEY,
    uid text NOT NULL,
    state text NOT NULL,
    source text NOT NULL,           -- fingerprints
    target text NOT NULL,
    version text NOT NULL,          -- of the planner
    config_digest text NOT NULL,
    without jsonb NOT NULL,         -- what of the source was left out when it was read
    sections text[] NOT NULL,       -- that are made; empty means all
    digest_key bytea NOT NULL,      -- that rows are hashed under
    target_start timestamptz NOT NULL,  -- a later postmaster means that commits may be lost
    planner text,                   -- host/pid of the last planner that owned the run
    paused bool NOT NULL DEFAULT false,
    caps jsonb NOT NULL DEFAULT '{}',   -- by stage, where planner scale has set one
    wish text NOT NULL DEFAULT '',  -- drain or now: somebody wants the run cancelled
    inconsistent text,              -- why rows may be of different snapshots, by a person's explicit word
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
-- Of a run of several databases, each of which has a ledger of its own.
CREATE TABLE pgconvoy.instance (
    run text PRIMARY KEY,
    uid text NOT NULL,              -- of the run of all of them
    databases text[] NOT NULL,      -- in the order of the run
    complete bool NOT NULL DEFAULT false    -- all of them are, and the ledgers are being dropped
);
-- A crash of the target empties it, as it empties every unlogged table that was copied.
CREATE UNLOGGED TABLE pgconvoy.intact (run text PRIMARY KEY);
CREATE TABLE pgconvoy.snapshot (
    run text NOT NULL,
    id int NOT NULL,
    name text NOT NULL,             -- of the planner that took it; keepers have others
    pg_snapshot text NOT NULL,      -- pg_current_snapshot() of it
    timeline text NOT NULL,         -- with the next three: what proves later that the source has not changed
    lsn text NOT NULL,
    durable bool NOT NULL,
    replayed bool NOT NULL,         -- the source is a standby, and lsn is up to where it had replayed
    same_as int,                    -- an older snapshot that is proven to show the same
    taken_at timestamptz NOT NULL DEFAULT now(),
    released_at timestamptz,        -- every row is read
    lost_at timestamptz,            -- nobody holds it any more
    PRIMARY KEY (run, id)
);
-- What workers have in hand, for as long as they say so. Sessions do not outlive a crash of the target either.
CREATE UNLOGGED TABLE pgconvoy.lease (
    run text NOT NULL,
    task text COLLATE "C" NOT NULL,
    worker text NOT NULL,
    target_pid int NOT NULL,
    target_start text NOT NULL,     -- backend_start: a pid alone may be of another session by now
    source_pid int,
    source_start text,
    bytes int8 NOT NULL,
    moved_at timestamptz NOT NULL,  -- when bytes last grew
    beat_at timestamptz NOT NULL,
    since timestamptz NOT NULL,
    PRIMARY KEY (run, task, worker)
);
CREATE TABLE pgconvoy.task (
    run text NOT NULL,
    id text COLLATE "C" NOT NULL,    -- ordered by bytes: the pieces of a bundle are a range
    kind text NOT NULL,
    stage text NOT NULL,
    grp text NOT NULL,
    wave text NOT NULL,
    bucket int NOT NULL,            -- a slice of the plan: whether a wave is open is mostly known from one
    spec jsonb NOT NULL,
    weight int8 NOT NULL,
    state text NOT NULL,
    attempts int NOT NULL DEFAULT 0,
    last_error text,
    worker text,
    rows int8,
    bytes int8,
    snapshot_id int,
    again bool NOT NULL DEFAULT false,  -- it was done before, and what it made but the rows is still there
    started_at timestamptz,
    done_at timestamptz,
    PRIMARY KEY (run, id)
);
CREATE INDEX task_open_grp ON pgconvoy.task (run, grp) WHERE state <> 'done';
CREATE INDEX task_open_wave ON pgconvoy.task (run, wave, bucket) WHERE state <> 'done';
CREATE TABLE pgconvoy.need (
    run text NOT NULL,
    task text COLLATE "C" NOT NULL,
    grp text NOT NULL,
    PRIMARY KEY (run, task, grp)
);
CREATE INDEX need_grp ON pgconvoy.need (run, grp);
CREATE TABLE pgconvoy.copied (
    run text NOT NULL,
    task text COLLATE "C" NOT NULL,
    schema text NOT NULL,
    name text NOT NULL,
    rows int8 NOT NULL,
    bytes int8 NOT NULL,
    digest text,                    -- of the rows as the source sent them, if that was asked for
    PRIMARY KEY (run, task, schema, name)
);
CREATE INDEX copied_name ON pgconvoy.copied (run, schema, name);
CREATE TABLE pgconvoy.measured (    -- what tables, or parts of them, hold on one side
    run text NOT NULL,
    task text COLLATE "C" NOT NULL,
    side text NOT NULL,
    schema text NOT NULL,
    name text NOT NULL,
    rows int8 NOT NULL,
    digest text,
    PRIMARY KEY (run, task, schema, name)
);
CREATE INDEX measured_name ON pgconvoy.measured (run, schema, name);
CREATE TABLE pgconvoy.difference (
    run text NOT NULL,
    schema text NOT NULL,
    name text NOT NULL,
    detail bytea NOT NULL,          -- JSON; as bytes, since it holds text of the source in whatever encoding the target has
    PRIMARY KEY (run, schema, name)
);
CREATE TABLE pgconvoy.planned (
    run text NOT NULL,
    schema text NOT NULL,
    name text NOT NULL,
    bytes int8 NOT NULL,
    parts int NOT NULL,
    indexes int NOT NULL,
    bundle text NOT NULL,
    unlogged bool NOT NULL,
    PRIMARY KEY (run, schema, name)
);
CREATE TABLE pgconvoy.skipped (
    run text NOT NULL,
    id int NOT NULL,
    object text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (run, id)
);
CREATE TABLE pgconvoy.archive (
    run text NOT NULL,
    id int NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (run, id)
);

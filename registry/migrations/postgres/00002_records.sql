-- The same tables as SQLite's after its 00002; before that there was no PostgreSQL.

-- +goose Up
CREATE TABLE records (
    key    TEXT COLLATE "C" PRIMARY KEY, -- kind/id; in the order of its bytes, as in SQLite
    kind   TEXT NOT NULL,
    unit   TEXT NOT NULL DEFAULT '',     -- whose it is; of a unit: the one above it
    system TEXT NOT NULL DEFAULT '',     -- of what is said of an information system
    value  TEXT NOT NULL                 -- JSON, in the words it is published in: JSONB would write it anew
);
CREATE INDEX records_kind ON records (kind);
CREATE INDEX records_unit ON records (unit);
CREATE INDEX records_system ON records (system);

-- Every change, in order. It is written in the same transaction as the change
-- itself, under a lock, so that ids become visible in their order.
CREATE TABLE changes (
    id    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at    TIMESTAMPTZ NOT NULL,
    who   TEXT NOT NULL,
    key   TEXT COLLATE "C" NOT NULL,
    value TEXT NOT NULL -- JSON of the record; empty for a deletion
);
CREATE INDEX changes_key ON changes (key, id);

CREATE TABLE users (
    name     TEXT PRIMARY KEY,
    password TEXT NOT NULL, -- argon2id, PHC string format
    role     TEXT NOT NULL,
    unit     TEXT NOT NULL DEFAULT '',
    one_time BOOLEAN NOT NULL, -- must be changed at the first login
    created  TIMESTAMPTZ NOT NULL
);

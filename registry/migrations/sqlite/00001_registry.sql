-- +goose Up
CREATE TABLE units (
    code   TEXT PRIMARY KEY,
    name   TEXT NOT NULL,
    level  TEXT NOT NULL,
    parent TEXT NOT NULL DEFAULT ''
);
CREATE TABLE networks (
    prefix TEXT PRIMARY KEY,
    unit   TEXT NOT NULL REFERENCES units (code),
    name   TEXT NOT NULL DEFAULT '',
    scan   BOOLEAN NOT NULL
);
CREATE TABLE domains (
    name TEXT PRIMARY KEY,
    unit TEXT NOT NULL REFERENCES units (code),
    scan BOOLEAN NOT NULL
);
CREATE TABLE whitelist (
    key       TEXT PRIMARY KEY,
    kind      TEXT NOT NULL,
    domain    TEXT NOT NULL DEFAULT '',
    host      TEXT NOT NULL DEFAULT '',
    port      INTEGER NOT NULL DEFAULT 0,
    transport TEXT NOT NULL DEFAULT '',
    service   TEXT NOT NULL DEFAULT '',
    unit      TEXT NOT NULL REFERENCES units (code),
    reason    TEXT NOT NULL DEFAULT '',
    valid_from  TIMESTAMP,
    valid_until TIMESTAMP
);
CREATE INDEX units_parent ON units (parent);
CREATE INDEX networks_unit ON networks (unit);
CREATE INDEX domains_unit ON domains (unit);
CREATE INDEX whitelist_unit ON whitelist (unit);

-- Every change, in order, as the record that goes to the topic registry. It is
-- written in the same transaction as the change itself.
CREATE TABLE changes (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    at    TIMESTAMP NOT NULL,
    who   TEXT NOT NULL,
    key   TEXT NOT NULL,
    value TEXT NOT NULL -- JSON of the record; empty for a deletion
);

CREATE TABLE users (
    name     TEXT PRIMARY KEY,
    password TEXT NOT NULL, -- argon2id, PHC string format
    role     TEXT NOT NULL,
    unit     TEXT NOT NULL DEFAULT '',
    one_time BOOLEAN NOT NULL, -- must be changed at the first login
    created  TIMESTAMP NOT NULL
);

-- +goose Down
DROP TABLE users;
DROP TABLE changes;
DROP TABLE whitelist;
DROP TABLE domains;
DROP TABLE networks;
DROP TABLE units;

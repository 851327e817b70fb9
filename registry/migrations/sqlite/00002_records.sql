-- Every kind of record is one row with the same JSON as its change, so that the
-- state of today, that of any past day and the topic are read in one way. The
-- newest change of each key has always been its row. There is no way back: the
-- tables of 00001 cannot hold the kinds that came since.

-- +goose Up
CREATE TABLE records (
    key    TEXT PRIMARY KEY,           -- kind/id
    kind   TEXT NOT NULL,
    unit   TEXT NOT NULL DEFAULT '',   -- whose it is; of a unit: the one above it
    system TEXT NOT NULL DEFAULT '',   -- of what is said of an information system
    value  TEXT NOT NULL               -- JSON
);
CREATE INDEX records_kind ON records (kind);
CREATE INDEX records_unit ON records (unit);
CREATE INDEX records_system ON records (system);
CREATE INDEX changes_key ON changes (key, id);
INSERT INTO records (key, kind, unit, value)
SELECT key, substr(key, 1, instr(key, '/') - 1),
       COALESCE(json_extract(value, '$.unit.parent'), json_extract(value, '$.network.unit'),
                json_extract(value, '$.domain.unit'), json_extract(value, '$.whitelist.unit'), ''),
       value
FROM changes
WHERE id IN (SELECT MAX(id) FROM changes GROUP BY key) AND value <> '';
DROP TABLE whitelist;
DROP TABLE domains;
DROP TABLE networks;
DROP TABLE units;

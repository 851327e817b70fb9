-- Who had an address: one row a sighting (schemas.Sighting). name is the address,
-- or the MAC address where no other is known yet; port is 0 except of one port's
-- translation. A sighting that is written again replaces itself.
CREATE TABLE IF NOT EXISTS identities {{.On}} (
    kind        LowCardinality(String),
    name        String,
    port        UInt16,
    since       DateTime64(6, 'UTC'),
    event_id    String,
    ingested    DateTime64(3, 'UTC'),
    unit        LowCardinality(String),
    first_port  UInt16,
    last_port   UInt16,
    transport   LowCardinality(String),
    inside      String,
    inside_port UInt16,
    peer        String,
    mac         String,
    host        String,
    user        String,
    began       DateTime64(6, 'UTC'),
    until       DateTime64(6, 'UTC'),
    ended       Bool,
    system      LowCardinality(String),
    source      LowCardinality(String)
)
ENGINE = {{.Engine "ReplacingMergeTree"}}
PARTITION BY toDate(ingested)
ORDER BY (kind, name, port, since, event_id)
SETTINGS {{.Dedup}}, ttl_only_drop_parts = 1;

-- What an asset was before it became what it is: closed intervals, since when and
-- until when, one row each. What it is now is in assets. doc is the whole of it
-- as JSON, but for long texts. A version that is written again replaces itself.
CREATE TABLE IF NOT EXISTS asset_versions {{.On}} (
    key     String,
    version UInt64,
    since   DateTime64(6, 'UTC'),
    until   DateTime64(6, 'UTC'),
    unit    LowCardinality(String),
    doc     String CODEC(ZSTD(1))
)
ENGINE = {{.Engine "ReplacingMergeTree"}}
ORDER BY (key, version)
SETTINGS {{.Dedup}};

-- How one thing of the map leads to another, as each source saw it: read them
-- summed up. Each edge is here twice, at either end, so that it is found from
-- both. kafka_offset is of the last observation that is counted in: what is
-- delivered again after a crash is known by it and not counted twice.
CREATE TABLE IF NOT EXISTS edges {{.On}} (
    node         String,
    back         Bool,
    kind         LowCardinality(String),
    peer         String,
    source       LowCardinality(String),
    first        SimpleAggregateFunction(min, DateTime64(6, 'UTC')),
    last         SimpleAggregateFunction(max, DateTime64(6, 'UTC')),
    count        SimpleAggregateFunction(sum, UInt64),
    kafka_offset SimpleAggregateFunction(max, UInt64)
)
ENGINE = {{.Engine "AggregatingMergeTree"}}
ORDER BY (node, back, kind, peer, source)
SETTINGS {{.Dedup}};

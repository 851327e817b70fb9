-- Partitioned by the day of writing, not of the event: so a batch, which has one
-- time of writing, lies in one partition, and is stored whole or not at all.
-- The catalogue gives it some 200 columns, of which a row fills 20. So new parts
-- are one file (compact), which writes three times as fast as a file a column;
-- and merges into larger ones go a column at a time (vertical), which takes
-- 0.5 GiB where all columns at once take more than 2.
CREATE TABLE IF NOT EXISTS events {{.On}} (
    id              String,
    stream          LowCardinality(String),
    seq             UInt64,
    kafka_partition UInt16,
    kafka_offset    UInt64,
    ingested        DateTime64(3, 'UTC'),
    received        DateTime64(6, 'UTC'),
    unit            LowCardinality(String),
    source          LowCardinality(String),
    input           LowCardinality(String),
    format          LowCardinality(String),
    drill           Bool,
    original        String CODEC(ZSTD(1)),
    timestamp       DateTime64(6, 'UTC'),
    INDEX by_offset kafka_offset TYPE minmax GRANULARITY 1,
    INDEX by_id id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = {{.Engine "MergeTree"}}
PARTITION BY toDate(ingested)
ORDER BY (timestamp, unit)
SETTINGS {{.Dedup}}, ttl_only_drop_parts = 1,
    min_bytes_for_wide_part = 134217728, vertical_merge_algorithm_min_rows_to_activate = 1;

-- What could not be parsed, whole.
CREATE TABLE IF NOT EXISTS dead_letters {{.On}} (
    stream          LowCardinality(String),
    seq             UInt64,
    kafka_partition UInt16,
    kafka_offset    UInt64,
    ingested        DateTime64(3, 'UTC'),
    received        DateTime64(6, 'UTC'),
    unit            LowCardinality(String),
    source          LowCardinality(String),
    input           LowCardinality(String),
    format          LowCardinality(String),
    reason          String,
    raw             String CODEC(ZSTD(1)),
    INDEX by_offset kafka_offset TYPE minmax GRANULARITY 1
)
ENGINE = {{.Engine "MergeTree"}}
PARTITION BY toDate(ingested)
ORDER BY (received, stream, seq)
SETTINGS {{.Dedup}}, ttl_only_drop_parts = 1;

-- The following hold the newest version of each thing: read them with FINAL.
-- doc is the whole of it as JSON; the other columns are for conditions.
CREATE TABLE IF NOT EXISTS alerts {{.On}} (
    id         String,
    version    UInt64,
    kind       LowCardinality(String),
    status     LowCardinality(String),
    level      LowCardinality(String),
    rule_id    String,
    rule_title String,
    unit       LowCardinality(String),
    host       String,
    first      DateTime64(6, 'UTC'),
    last       DateTime64(6, 'UTC'),
    raised     DateTime64(6, 'UTC'),
    updated    DateTime64(6, 'UTC'),
    count      UInt64,
    summary    String,
    drill      Bool,
    doc        String CODEC(ZSTD(1))
)
ENGINE = {{.Engine "ReplacingMergeTree" "version"}}
ORDER BY id
SETTINGS {{.Dedup}};

CREATE TABLE IF NOT EXISTS mining_detections {{.On}} (
    id         String,
    version    UInt64,
    status     LowCardinality(String),
    unit       LowCardinality(String),
    host       String,
    confidence Float64,
    first      DateTime64(6, 'UTC'),
    last       DateTime64(6, 'UTC'),
    raised     DateTime64(6, 'UTC'),
    updated    DateTime64(6, 'UTC'),
    count      UInt64,
    pools      Array(String),
    coins      Array(String),
    protocols  Array(String),
    wallets    Array(String),
    drill      Bool,
    doc        String CODEC(ZSTD(1))
)
ENGINE = {{.Engine "ReplacingMergeTree" "version"}}
ORDER BY id
SETTINGS {{.Dedup}};

CREATE TABLE IF NOT EXISTS assets {{.On}} (
    key       String,
    version   UInt64,
    kind      LowCardinality(String),
    unit      LowCardinality(String),
    name      String,
    ip        String,
    port      UInt16,
    transport LowCardinality(String),
    alive     Bool,
    service   LowCardinality(String),
    product   LowCardinality(String),
    first     DateTime64(6, 'UTC'),
    last      DateTime64(6, 'UTC'),
    updated   DateTime64(6, 'UTC'),
    doc       String CODEC(ZSTD(1))
)
ENGINE = {{.Engine "ReplacingMergeTree" "version"}}
ORDER BY key
SETTINGS {{.Dedup}};

CREATE TABLE IF NOT EXISTS drift {{.On}} (
    id        String,
    version   UInt64,
    kind      LowCardinality(String),
    status    LowCardinality(String),
    asset     String,
    unit      LowCardinality(String),
    expected  String,
    observed  String,
    first     DateTime64(6, 'UTC'),
    last      DateTime64(6, 'UTC'),
    updated   DateTime64(6, 'UTC'),
    doc       String CODEC(ZSTD(1))
)
ENGINE = {{.Engine "ReplacingMergeTree" "version"}}
ORDER BY id
SETTINGS {{.Dedup}};

-- Append only; an observation that is written again replaces itself.
CREATE TABLE IF NOT EXISTS observations {{.On}} (
    id          String,
    kind        LowCardinality(String),
    time        DateTime64(6, 'UTC'),
    source      LowCardinality(String),
    job         String,
    shard       String,
    scanner     LowCardinality(String),
    unit        LowCardinality(String),
    name        String,
    record_type LowCardinality(String),
    ip          String,
    port        UInt16,
    transport   LowCardinality(String),
    open        Bool,
    service     LowCardinality(String),
    doc         String CODEC(ZSTD(1)),
    INDEX by_ip ip TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_name name TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = {{.Engine "ReplacingMergeTree"}}
ORDER BY (time, id)
SETTINGS {{.Dedup}};

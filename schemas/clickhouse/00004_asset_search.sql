-- What the asset map is searched by: one row a domain, host or service, with what
-- the registry and the drifts say of it. It holds no document; the table assets
-- does. Rows lie by address, so a network is one range of them.
--
-- Columns called lists are texts of lines, "\na\nb\n": of few different values
-- they are LowCardinality, and a condition is asked of the dictionary alone.
-- Texts that differ have an index of their pieces of two or three characters
-- (lower case), which finds what a text contains; names have one of whole names.
-- So have servers and technologies, of which there are few: a word by itself is
-- looked for in all of these, and one column without an index makes the others'
-- useless; and systems, whose dictionary is large. A unit's addresses lie together,
-- so sets of units leave most granules out. Headers and bodies have none: it would
-- be larger than they are, and cost more than all else of writing a row.
--
-- Newer rows replace older ones of the same place. Counting with FINAL merges all
-- of the table at every question, so there is to be one large part, and what was
-- written since is small: what is older than an hour is merged into it.
-- Granules and blocks are small, since what is found lies in many places, and of
-- each a granule of every column is read.
CREATE TABLE IF NOT EXISTS asset_search {{.On}} (
    ip          IPv6,
    port        UInt16,
    transport   LowCardinality(String),
    name        String,
    id          UInt64,
    key         String CODEC(ZSTD(1)),
    version     UInt64,
    mark        UInt64,
    kind        LowCardinality(String),
    alive       Bool,
    unit        LowCardinality(String),
    unit_in     LowCardinality(String),
    city        LowCardinality(String),
    county      LowCardinality(String),
    school      LowCardinality(String),
    system      LowCardinality(String),
    level       UInt8,
    registered  Bool,
    whitelisted Bool,
    drift       LowCardinality(String),
    exposure    LowCardinality(String),
    app         LowCardinality(String),
    protocol    LowCardinality(String),
    product     LowCardinality(String),
    release     LowCardinality(String),
    os          LowCardinality(String),
    server      LowCardinality(String),
    status      UInt16,
    host        String CODEC(ZSTD(1)),
    domain      Array(String) CODEC(ZSTD(1)),
    title       String,
    header      String CODEC(ZSTD(1)),
    body        String CODEC(ZSTD(1)),
    banner      String CODEC(ZSTD(1)),
    cert        String CODEC(ZSTD(1)),
    icon_hash   String CODEC(ZSTD(1)),
    first       DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    last        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    INDEX in_host lower(host) TYPE text(tokenizer = ngrams(3)),
    INDEX in_domain domain TYPE text(tokenizer = array),
    INDEX in_title lower(title) TYPE text(tokenizer = ngrams(2)),
    INDEX in_banner lower(banner) TYPE text(tokenizer = ngrams(3)),
    INDEX in_cert lower(cert) TYPE text(tokenizer = ngrams(3)),
    INDEX in_server lower(server) TYPE text(tokenizer = ngrams(3)),
    INDEX in_app lower(app) TYPE text(tokenizer = ngrams(3)),
    INDEX in_system lower(system) TYPE text(tokenizer = ngrams(2)),
    INDEX in_icon icon_hash TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX in_unit unit_in TYPE set(64) GRANULARITY 8,
    INDEX of_unit unit TYPE set(64) GRANULARITY 8
)
ENGINE = {{.Engine "ReplacingMergeTree" "version"}}
ORDER BY (ip, port, transport, name)
SETTINGS {{.Dedup}}, min_age_to_force_merge_seconds = 3600, index_granularity = 1024, min_compress_block_size = 16384;

-- How much a drift matters, of which information system it is, by when it is to be
-- handled, when it was found late, and what people last said of it. A drift that is
-- not confirmed has no due time: 1970.
ALTER TABLE drift {{.On}}
    ADD COLUMN IF NOT EXISTS detail String,
    ADD COLUMN IF NOT EXISTS severity LowCardinality(String),
    ADD COLUMN IF NOT EXISTS system LowCardinality(String),
    ADD COLUMN IF NOT EXISTS work LowCardinality(String),
    ADD COLUMN IF NOT EXISTS assignee LowCardinality(String),
    ADD COLUMN IF NOT EXISTS due DateTime64(6, 'UTC'),
    ADD COLUMN IF NOT EXISTS overdue DateTime64(6, 'UTC');

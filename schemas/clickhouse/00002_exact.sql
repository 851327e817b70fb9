-- What a column cannot say of a value, as JSON by the field's name: a list where
-- the column holds one value, words where it holds a number. Empty for nearly
-- every event. With it an event is read back as the rules saw it.
ALTER TABLE events {{.On}} ADD COLUMN IF NOT EXISTS exact String CODEC(ZSTD(1));

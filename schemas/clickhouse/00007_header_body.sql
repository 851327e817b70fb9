-- Headers and bodies are found by their pieces, too. Rows that are there already get
-- their indexes in the background.
ALTER TABLE asset_search {{.On}}
    ADD INDEX IF NOT EXISTS in_header lower(header) TYPE text(tokenizer = ngrams(3)),
    ADD INDEX IF NOT EXISTS in_body lower(body) TYPE text(tokenizer = ngrams(3));
ALTER TABLE asset_search {{.On}} MATERIALIZE INDEX in_header, MATERIALIZE INDEX in_body;

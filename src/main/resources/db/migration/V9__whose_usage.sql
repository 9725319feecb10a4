-- Whose request it was: its user, and the id of the key that was shown; null: none was, or the row is older than this.
ALTER TABLE usage_records
    ADD COLUMN user_id text,
    ADD COLUMN key_id text;

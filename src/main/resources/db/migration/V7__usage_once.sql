-- A batch of usage may be written twice: by the instance that made it, and by one that found it left behind.
ALTER TABLE usage_records ADD COLUMN answer_id text;
CREATE UNIQUE INDEX usage_records_answer ON usage_records (answer_id);

-- US dollars by the price table of the routes; null: the model has no price there
ALTER TABLE usage_records ADD COLUMN cost_usd numeric(18, 9);

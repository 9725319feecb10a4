-- An answer is found by its id too; a claim is a lease that is renewed while the answer is made.
ALTER TABLE answers
    ADD COLUMN answer_id     text,
    ADD COLUMN owner         text,
    ADD COLUMN stream        boolean,
    ADD COLUMN claimed_until timestamptz NOT NULL DEFAULT now();
CREATE INDEX answers_answer_id ON answers (answer_id);

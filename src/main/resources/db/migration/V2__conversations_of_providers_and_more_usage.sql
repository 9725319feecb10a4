-- How a provider that remembers conversations itself calls the one of a session; told by the provider, never made up.
CREATE TABLE provider_conversations (
    chat_id         text NOT NULL,
    provider        text NOT NULL,
    conversation_id text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chat_id, provider)
);

-- cached and reasoning tokens are parts of the prompt's and the completion's; estimated: the provider counted nothing
ALTER TABLE usage_records
    ADD COLUMN cached_tokens bigint,
    ADD COLUMN reasoning_tokens bigint,
    ADD COLUMN usage_estimated boolean NOT NULL DEFAULT false;

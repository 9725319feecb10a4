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

-- the active agents as OpenAI and Anthropic list models
CREATE VIEW openai_models AS
SELECT id, jsonb_build_object('id', id, 'object', 'model', 'created', extract(epoch FROM created_at)::bigint,
                              'owned_by', provider) AS document
FROM agent_configs WHERE is_active;

CREATE VIEW anthropic_models AS
SELECT id, jsonb_build_object('type', 'model', 'id', id, 'display_name', name, 'created_at',
                              to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) AS document
FROM agent_configs WHERE is_active;

-- The first schema: whom to ask, what was answered to an idempotency key, what it used.

CREATE TABLE agent_configs (
    id            text PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    name          text NOT NULL,
    description   text NOT NULL DEFAULT '',
    provider      text NOT NULL,
    model         text NOT NULL,
    system_prompt text,
    temperature   double precision,
    max_tokens    integer,
    fallbacks     jsonb NOT NULL DEFAULT '[]',
    capabilities  jsonb NOT NULL DEFAULT '[]',
    is_active     boolean NOT NULL DEFAULT true,
    rate_limit    jsonb,
    metadata      jsonb NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX agent_configs_provider ON agent_configs (provider, is_active);

-- an agent as the API shows it
CREATE VIEW agent_documents AS
SELECT id, is_active, jsonb_strip_nulls(jsonb_build_object(
           'systemPrompt', system_prompt, 'temperature', temperature, 'maxTokens', max_tokens))
    || jsonb_build_object(
           'id', id, 'name', name, 'description', description, 'provider', provider, 'model', model,
           'fallbacks', fallbacks, 'capabilities', capabilities, 'isActive', is_active, 'metadata', metadata)
    || CASE WHEN rate_limit IS NULL THEN '{}' ELSE jsonb_build_object('rateLimit', rate_limit) END AS document
FROM agent_configs;

-- and back: the row of an agent that the API was given
CREATE FUNCTION agent_of_document(document jsonb) RETURNS agent_configs LANGUAGE sql STABLE AS $$
    SELECT document ->> 'id', document ->> 'name', coalesce(document ->> 'description', ''),
           document ->> 'provider', document ->> 'model', document ->> 'systemPrompt',
           (document ->> 'temperature')::double precision, (document ->> 'maxTokens')::integer,
           coalesce(document -> 'fallbacks', '[]'), coalesce(document -> 'capabilities', '[]'),
           coalesce((document ->> 'isActive')::boolean, true), nullif(document -> 'rateLimit', 'null'),
           coalesce(document -> 'metadata', '{}'), now(), now()
$$;

-- an agent as the routes use it: fallbacks that name an agent name its provider and model instead
CREATE VIEW agent_targets AS
SELECT d.id, d.document || jsonb_build_object('fallbacks', (
    SELECT coalesce(jsonb_agg(
               CASE jsonb_typeof(f.value) WHEN 'object' THEN f.value ELSE jsonb_build_object('model', f.value) END
               || CASE WHEN a.id IS NULL THEN '{}' ELSE jsonb_build_object('model', a.provider || '/' || a.model) END
               ORDER BY f.ordinality), '[]')
    FROM jsonb_array_elements(d.document -> 'fallbacks') WITH ORDINALITY f
    LEFT JOIN agent_configs a ON a.is_active AND a.id = coalesce(f.value ->> 'model', f.value #>> '{}'))) AS document
FROM agent_documents d;

INSERT INTO agent_configs (id, name, description, provider, model)
VALUES ('demo', 'Demo', 'Answers locally, without a key and without a network.', 'demo', 'demo');

CREATE TABLE answers (
    key         text PRIMARY KEY,
    claimed_by  text NOT NULL,
    fingerprint bytea,
    body        bytea,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX answers_created_at ON answers (created_at);

CREATE TABLE usage_records (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at        timestamptz NOT NULL,
    request_id        text NOT NULL,
    agent_id          text,
    provider          text,
    model             text,
    stream            boolean NOT NULL,
    outcome           text NOT NULL,
    finish_reason     text,
    attempts          text NOT NULL,
    prompt_tokens     bigint,
    completion_tokens bigint,
    total_tokens      bigint,
    first_token_ms    bigint,
    duration_ms       bigint NOT NULL
);
CREATE INDEX usage_records_created_at ON usage_records (created_at);

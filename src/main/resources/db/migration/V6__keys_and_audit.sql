-- Who may call, and who has changed what.

-- for all keys of a user together, as the API takes limits; null: none
ALTER TABLE users ADD COLUMN limits jsonb;

-- what all instances must agree on and nobody has set
CREATE TABLE settings (
    name  text PRIMARY KEY,
    value text NOT NULL
);

-- hash: HMAC-SHA-256 of the key, which itself is kept nowhere; prefix: what people know it by.
-- agents, models: what it may ask for; where both are empty, everything.
CREATE TABLE api_keys (
    id         text PRIMARY KEY,
    user_id    text NOT NULL REFERENCES users (id),
    name       text NOT NULL,
    prefix     text NOT NULL,
    hash       bytea NOT NULL UNIQUE,
    agents     jsonb NOT NULL DEFAULT '[]',
    models     jsonb NOT NULL DEFAULT '[]',
    limits     jsonb,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
CREATE INDEX api_keys_user ON api_keys (user_id, created_at DESC, id);
CREATE INDEX api_keys_created_at ON api_keys (created_at DESC, id);

-- a key as the API shows it
CREATE FUNCTION api_key_document(k api_keys) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('id', k.id, 'prefix', k.prefix, 'name', k.name, 'userId', k.user_id, 'agents', k.agents,
        'models', k.models, 'createdAt', iso(k.created_at)) || jsonb_strip_nulls(jsonb_build_object('limits', k.limits,
        'expiresAt', iso(k.expires_at), 'revokedAt', iso(k.revoked_at)))
$$;

-- a key as the gateway knows its caller by it
CREATE VIEW api_key_callers AS
SELECT k.hash, k.revoked_at, jsonb_build_object('id', k.id, 'hash', encode(k.hash, 'hex'), 'userId', k.user_id, 'agents', k.agents,
    'models', k.models) || jsonb_strip_nulls(jsonb_build_object('limits', k.limits, 'expiresAt', iso(k.expires_at),
    'userLimits', u.limits)) AS document
FROM api_keys k JOIN users u ON u.id = k.user_id;

-- Whether a key may ask for an agent; the scope is {agents, models} of the key, null: everything. The gateway decides
-- by the same rule in Caller.mayAsk.
CREATE FUNCTION may_ask(scope jsonb, agent text, target text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT scope IS NULL OR jsonb_exists(scope -> 'agents', agent)
        OR scope -> 'agents' = '[]' AND jsonb_exists_any(scope -> 'models', ARRAY[target, split_part(target, '/', 1) || '/*'])
$$;

CREATE OR REPLACE VIEW openai_models AS
SELECT id, jsonb_build_object('id', id, 'object', 'model', 'created', extract(epoch FROM created_at)::bigint,
                              'owned_by', provider) AS document, provider || '/' || model AS target
FROM agent_configs WHERE is_active;

CREATE OR REPLACE VIEW anthropic_models AS
SELECT id, jsonb_build_object('type', 'model', 'id', id, 'display_name', name, 'created_at',
                              to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) AS document,
       provider || '/' || model AS target
FROM agent_configs WHERE is_active;

CREATE OR REPLACE VIEW agent_documents AS
SELECT id, is_active, jsonb_strip_nulls(jsonb_build_object(
           'systemPrompt', system_prompt, 'temperature', temperature, 'maxTokens', max_tokens))
    || jsonb_build_object(
           'id', id, 'name', name, 'description', description, 'provider', provider, 'model', model,
           'fallbacks', fallbacks, 'capabilities', capabilities, 'isActive', is_active, 'metadata', metadata)
    || CASE WHEN rate_limit IS NULL THEN '{}' ELSE jsonb_build_object('rateLimit', rate_limit) END AS document,
       provider || '/' || model AS target
FROM agent_configs;

CREATE FUNCTION user_document(u users) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('id', u.id, 'name', u.name, 'limits', u.limits, 'createdAt', iso(u.created_at))
$$;

-- What administrators did. Rows are added, and never changed or removed.
CREATE TABLE audit_log (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT now(),
    actor       text NOT NULL,
    action      text NOT NULL,
    object_type text NOT NULL,
    object_id   text NOT NULL,
    address     text NOT NULL,
    request_id  text NOT NULL,
    details     jsonb NOT NULL
);
CREATE INDEX audit_log_object ON audit_log (object_type, object_id, id DESC);
CREATE INDEX audit_log_action ON audit_log (action, id DESC);

CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only: no % here', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();

CREATE VIEW audit_documents AS
SELECT id, action, object_type, object_id, jsonb_build_object('id', id, 'at', iso(at), 'actor', actor, 'action', action,
    'objectType', object_type, 'objectId', object_id, 'address', address, 'requestId', request_id, 'details', details) AS document
FROM audit_log;

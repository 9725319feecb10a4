-- Conversations: who has them, and what was said in them.

CREATE TABLE users (
    id         text PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
-- whoever shows the admin key, and everybody where no key is needed
INSERT INTO users (id, name) VALUES ('admin', 'Administrator'), ('anonymous', 'Anonymous');

-- agent_id: whom the last message was for, an agent or <provider>/<model>; what was said outlives an agent.
-- external_session_id: how a provider that remembers conversations itself calls this one; told by it, never made up.
CREATE TABLE chat_sessions (
    id                  text PRIMARY KEY,
    user_id             text NOT NULL REFERENCES users (id),
    agent_id            text NOT NULL,
    title               text NOT NULL,
    external_session_id text,
    provider            text,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
);

-- two messages of one transaction come one after the other
CREATE TABLE chat_messages (
    id         text PRIMARY KEY,
    session_id text NOT NULL REFERENCES chat_sessions (id) ON DELETE CASCADE,
    role       text NOT NULL CHECK (role IN ('user', 'assistant')),
    content    text NOT NULL,
    status     text NOT NULL DEFAULT 'complete' CHECK (status IN ('complete', 'interrupted')),
    rating     text CHECK (rating IN ('up', 'down')),
    comment    text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Until now only what providers call a session was kept, not whose it is: where keys are needed nobody sees these.
INSERT INTO chat_sessions (id, user_id, agent_id, title, external_session_id, provider, created_at, updated_at)
SELECT DISTINCT ON (chat_id) chat_id, 'anonymous', provider, '', conversation_id, provider, created_at, created_at
FROM provider_conversations ORDER BY chat_id, created_at DESC;
DROP TABLE provider_conversations;

CREATE INDEX chat_sessions_user ON chat_sessions (user_id, updated_at DESC);
CREATE INDEX chat_sessions_agent ON chat_sessions (agent_id, created_at DESC);
CREATE INDEX chat_sessions_external ON chat_sessions (external_session_id, provider) WHERE external_session_id IS NOT NULL;
CREATE INDEX chat_messages_session ON chat_messages (session_id, created_at ASC);

-- both as the API shows them
CREATE FUNCTION iso(at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

CREATE VIEW chat_session_documents AS
SELECT id, user_id, agent_id, updated_at, jsonb_build_object('chatId', id, 'title', title, 'agentId', agent_id,
    'createdAt', iso(created_at), 'updatedAt', iso(updated_at)) AS document
FROM chat_sessions;

CREATE VIEW chat_message_documents AS
SELECT id, session_id, created_at, jsonb_build_object('id', id, 'role', role, 'content', content, 'status', status,
    'createdAt', iso(created_at)) AS document
FROM chat_messages;

-- What its owner calls a session, where that is not its id: two users may say the same.
-- In the order of those who list sessions meanwhile: the view, then its table.
LOCK TABLE chat_session_documents IN ACCESS EXCLUSIVE MODE;
ALTER TABLE chat_sessions ADD COLUMN name text;
CREATE UNIQUE INDEX chat_sessions_name ON chat_sessions (user_id, name) WHERE name IS NOT NULL;

CREATE OR REPLACE VIEW chat_session_documents AS
SELECT id, user_id, agent_id, updated_at, jsonb_build_object('chatId', coalesce(name, id), 'title', title, 'agentId', agent_id,
    'createdAt', iso(created_at), 'updatedAt', iso(updated_at)) AS document
FROM chat_sessions;

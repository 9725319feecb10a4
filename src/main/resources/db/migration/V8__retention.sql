-- What is older than it may be is found without reading everything; both grow at their end only.
CREATE INDEX chat_messages_created_at ON chat_messages (created_at);
CREATE INDEX chat_sessions_updated_at ON chat_sessions (updated_at);

-- Only the audit log, for `load_huge`; the columns are those of schema.sql.
CREATE TYPE audit_action AS ENUM ('insert', 'update', 'delete', 'login', 'export');
CREATE TABLE audit_log (
    id          bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    actor_id    bigint,
    action      audit_action NOT NULL,
    entity      text NOT NULL,
    entity_id   bigint NOT NULL,
    ip          inet,
    user_agent  text,
    changes     jsonb NOT NULL
);

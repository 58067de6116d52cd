-- A log comes in bursts: one visitor does several things in a row, several of them to one object.
INSERT INTO audit_log (id, occurred_at, actor_id, action, entity, entity_id, ip, user_agent, changes)
SELECT
    n,
    pg_temp.moment(n, %(audit_log)s) + interval '1 microsecond' * pg_temp.roll(n, 180, 1000000),
    CASE WHEN pg_temp.roll(visit, 181, 50) > 0 THEN actor END,
    what::audit_action,
    thing,
    1 + pg_temp.roll(burst, 183, 100000),
    pg_temp.address(actor),
    pg_temp.user_agent(actor),
    CASE WHEN what IN ('login', 'export') THEN '{}'::jsonb ELSE format(
        '{"before": {"status": "%%s", "total": %%s, "currency": "EUR", "warehouse": "%%s"},'
        ' "after": {"status": "%%s", "total": %%s, "currency": "EUR", "warehouse": "%%s"},'
        ' "request": {"id": %%s, "route": "/api/%%s/%%s"}}',
        pg_temp.pick(n, 184, ARRAY['placed', 'paid', 'shipped']), amount, site,
        pg_temp.pick(n, 185, ARRAY['paid', 'shipped', 'delivered']), amount, site,
        n * 7 + 13, thing, what)::jsonb END
FROM generate_series(1, %(audit_log)s::bigint) n,
    LATERAL (SELECT n / 4 AS burst, n / 8 AS visit) groups,
    LATERAL (SELECT
        1 + pg_temp.roll(visit, 186, 5000) AS actor,
        (199 + pg_temp.roll(burst, 187, 400) * 50)::numeric / 100 AS amount,
        pg_temp.pick(n, 182, ARRAY['update', 'update', 'update', 'insert', 'login', 'export']) AS what,
        pg_temp.pick(burst, 188, ARRAY['orders', 'orders', 'products', 'users']) AS thing,
        pg_temp.pick(burst, 189, ARRAY['berlin-1', 'kraków-2', 'lyon-1']) AS site
    ) columns;

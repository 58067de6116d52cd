INSERT INTO page_views (viewed_at, user_id, path, referrer, duration_ms)
SELECT
    pg_temp.moment(n, %(page_views)s),
    CASE WHEN pg_temp.roll(visit, 170, 3) = 0 THEN 1 + pg_temp.roll(visit, 171, %(users)s) END,
    CASE pg_temp.roll(n, 172, 3)
        WHEN 0 THEN '/'
        WHEN 1 THEN concat('/products/', 1 + pg_temp.roll(n, 173, %(products)s))
        ELSE '/search?q=bicycle&page=2'
    END,
    pg_temp.pick(visit, 174, ARRAY['https://search.example.com/?q=city+bicycle', 'https://news.example.org/', NULL]),
    pg_temp.roll(n, 175, 60000)
FROM generate_series(1, %(page_views)s::bigint) n, LATERAL (SELECT n / 6 AS visit) groups;

-- The password of user n is "password-<n>".
INSERT INTO users (id, email, password_hash, full_name, role, referred_by, default_address_id, created_at, updated_at)
OVERRIDING SYSTEM VALUE
SELECT
    n,
    concat('user', n, '@', pg_temp.pick(n, 10, ARRAY['example.com', 'example.org', 'mail.example.net'])),
    concat('sha256$', salt, '$', encode(sha256(convert_to(concat(salt, 'password-', n), 'UTF8')), 'hex')),
    pg_temp.full_name(n),
    (CASE WHEN n <= 3 THEN 'admin' WHEN mod(n, 500) = 0 THEN 'support' ELSE 'customer' END)::user_role,
    CASE WHEN n > 10 AND pg_temp.roll(n, 11, 5) = 0 THEN 1 + pg_temp.roll(n, 12, n - 1) END,
    CASE WHEN pg_temp.roll(n, 13, 10) > 0 THEN n END,
    pg_temp.moment(n, %(users)s),
    pg_temp.moment(n, %(users)s)
FROM generate_series(1, %(users)s::bigint) n,
    LATERAL (SELECT lpad(pg_temp.roll(n, 14, 1000000)::text, 6, '0') AS salt) s;

INSERT INTO profiles (user_id, bio, birthday, languages, preferences)
SELECT
    n,
    CASE pg_temp.roll(n, 20, 4)
        WHEN 0 THEN NULL
        WHEN 1 THEN ''
        ELSE concat(pg_temp.sentence(n, 21), E'\n', pg_temp.sentence(n, 31))
    END,
    date '1950-01-01' + pg_temp.roll(n, 41, 20000)::int,
    CASE pg_temp.roll(n, 42, 4)
        WHEN 0 THEN '{}'
        WHEN 1 THEN ARRAY['en']
        WHEN 2 THEN ARRAY['de', 'en']
        ELSE ARRAY['fr', NULL, 'ja']
    END,
    jsonb_build_object(
        'newsletter', pg_temp.roll(n, 43, 2) = 0,
        'theme', pg_temp.pick(n, 44, ARRAY['light', 'dark', 'system']),
        'sizes', jsonb_build_object(
            'shoe', 36 + pg_temp.roll(n, 45, 12),
            'shirt', pg_temp.pick(n, 46, ARRAY['S', 'M', 'L', 'XL'])))
FROM generate_series(1, %(users)s::bigint) n;

-- Address n belongs to user n; the rest are second addresses.
INSERT INTO addresses (id, user_id, recipient, street, postal_code, city, country)
SELECT
    n,
    owner,
    pg_temp.full_name(owner),
    concat(
        pg_temp.pick(n, 50, ARRAY['Hauptstraße', 'Rue de l''Église', 'High Street', 'Via Roma', 'Calle Mayor', 'Długa']),
        ' ', 1 + pg_temp.roll(n, 51, 200)),
    lpad(pg_temp.roll(n, 52, 100000)::text, 5, '0'),
    pg_temp.pick(n, 53, ARRAY['Berlin', 'Paris', 'Kraków', 'Málaga', 'Torino', 'Aarhus', 'Zürich', 'Lisboa', 'Brno']),
    pg_temp.pick(n, 53, ARRAY['DE', 'FR', 'PL', 'ES', 'IT', 'DK', 'CH', 'PT', 'CZ'])
FROM generate_series(1, %(addresses)s::bigint) n, LATERAL (SELECT mod(n - 1, %(users)s) + 1 AS owner) o;

INSERT INTO sessions (id, user_id, token_hash, ip, user_agent, valid, data)
SELECT
    encode(pg_temp.digest(n, 60), 'hex')::uuid,
    1 + pg_temp.roll(n, 61, %(users)s),
    pg_temp.digest(n, 62),
    pg_temp.address(n),
    pg_temp.user_agent(n),
    tstzrange(since, since + interval '30 days'),
    jsonb_build_object(
        'cart', jsonb_build_array(pg_temp.roll(n, 63, 900), pg_temp.roll(n, 64, 900)),
        'csrf', pg_temp.roll(n, 65, 1000000))
FROM generate_series(1, %(sessions)s::bigint) n, LATERAL (SELECT pg_temp.moment(n, %(sessions)s) AS since) m;

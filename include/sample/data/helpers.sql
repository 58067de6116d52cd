-- Functions of the generator, gone with its session. Every value is a hash of the row number, the column's salt and
-- the seed: two loads with the same seed and scale are equal byte for byte.

CREATE FUNCTION pg_temp.roll(n bigint, salt int, sides bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT mod(hashint8extended(n * 1000 + salt, %(seed)s) & 9223372036854775807, sides)
$$;
CREATE FUNCTION pg_temp.pick(n bigint, salt int, choices text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT choices[1 + pg_temp.roll(n, salt, cardinality(choices))]
$$;
CREATE FUNCTION pg_temp.digest(n bigint, salt int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT decode(md5(concat_ws(':', n, salt, %(seed)s)), 'hex')
$$;

-- Spreads `total` rows evenly from January to November 2026: physical order is the order in time, as in a real log.
CREATE FUNCTION pg_temp.moment(n bigint, total bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT timestamptz '2026-01-01 00:00:00+00' + interval '1 second' * trunc(n * (324 * 86400.0 / total))
$$;

CREATE FUNCTION pg_temp.full_name(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT concat_ws(' ',
        pg_temp.pick(n, 1, ARRAY[
            'Ada', 'Grace', 'Zoë', 'Łukasz', 'François', 'Mei', 'Óscar', 'Ingrid', 'Søren', 'Nadia', 'Jürgen', 'Priya',
            'Tomáš', 'Aisha', 'Luis', 'Hanna', 'Kwame', 'Yuki', 'Olga', 'Renée', '伟', 'Σοφία', 'Siobhán', 'Emil']),
        pg_temp.pick(n, 2, ARRAY[
            'Lovelace', 'Hopper', 'O''Brien', 'Müller', 'Nguyễn', 'Kowalski', 'García', 'Østergård', 'Dvořák', 'Sato',
            'Okafor', 'Silva', 'Rossi', 'Jansen', 'Haddad', 'Novák', 'Smith', 'Papadopoulos', 'Ivanova', 'Dubois']))
$$;
CREATE FUNCTION pg_temp.user_agent(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_temp.pick(n, 3, ARRAY[
        'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0',
        'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15',
        'Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148',
        'Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile',
        'Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0'])
$$;
CREATE FUNCTION pg_temp.address(n bigint) RETURNS inet LANGUAGE sql IMMUTABLE AS $$
    SELECT inet '10.0.0.0' + pg_temp.roll(n, 4, 65536)
$$;
CREATE FUNCTION pg_temp.sentence(n bigint, salt int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT concat_ws(' ',
        pg_temp.pick(n, salt, ARRAY['A light', 'A sturdy', 'A quiet', 'A folding', 'A handmade', 'A compact']),
        pg_temp.pick(n, salt + 1, ARRAY['bicycle', 'travel lamp', 'desk', 'kettle', 'rain jacket', 'notebook', 'tent']),
        pg_temp.pick(n, salt + 2, ARRAY['for daily use', 'for long journeys', 'made to last', 'for the cold']),
        pg_temp.pick(n, salt + 3, ARRAY[
            'with two years of warranty.', 'and a spare part in the box.', 'in recycled packaging.',
            'tested in the Alps.', 'from a family business.', 'as seen at the fair.']))
$$;
CREATE FUNCTION pg_temp.price(product bigint) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT (199 + pg_temp.roll(product, 5, 400) * 50)::numeric / 100
$$;

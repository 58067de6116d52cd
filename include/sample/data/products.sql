INSERT INTO categories (id, parent_id, name)
SELECT
    n,
    CASE WHEN n > 10 THEN 1 + mod(n, 10) END,
    concat(pg_temp.pick(n, 70, ARRAY['Home', 'Travel', 'Office', 'Garden', 'Sport']), ' ', n)
FROM generate_series(1, %(categories)s) n;

INSERT INTO products (id, category_id, sku, name, description, price, tags, dimensions_mm, attributes)
SELECT
    n,
    1 + pg_temp.roll(n, 80, %(categories)s),
    concat('SKU-', lpad(n::text, 7, '0')),
    concat_ws(' ',
        pg_temp.pick(n, 81, ARRAY['City', 'Trail', 'Studio', 'Harbour', 'Nordic']),
        pg_temp.pick(n, 82, ARRAY['bicycle', 'lamp', 'desk', 'kettle', 'jacket', 'notebook', 'tent']),
        pg_temp.roll(n, 83, 900)),
    concat_ws(E'\n',
        pg_temp.sentence(n, 84), pg_temp.sentence(n, 90), E'\\ care: 30 °C\tdo not bleach', pg_temp.sentence(n, 95)),
    pg_temp.price(n),
    ARRAY[
        pg_temp.pick(n, 101, ARRAY['new', 'sale', 'classic']),
        pg_temp.pick(n, 102, ARRAY['eco', 'premium', '50%% off', 'a,b "c"'])],
    ARRAY[100 + pg_temp.roll(n, 103, 900), 100 + pg_temp.roll(n, 104, 900), 10 + pg_temp.roll(n, 105, 90)]::int[],
    jsonb_build_object(
        'colour', pg_temp.pick(n, 106, ARRAY['red', 'black', 'türkis', 'sand']),
        'weight_g', pg_temp.roll(n, 107, 30000),
        'materials', jsonb_build_array('steel', pg_temp.pick(n, 108, ARRAY['cotton', 'leather', 'oak'])),
        'discontinued', NULL)
FROM generate_series(1, %(products)s::bigint) n;

-- Digests of 16 bytes: images of 8 to 48 KB that do not compress, under fixed object ids so that two loads are equal.
INSERT INTO product_images (product_id, content, sha256)
SELECT n, lo_from_bytea((1000000 + n)::oid, image), sha256(image)
FROM generate_series(1, %(product_images)s::bigint) n, LATERAL (
    SELECT string_agg(pg_temp.digest(n * 10000 + i, 110), ''::bytea ORDER BY i) AS image
    FROM generate_series(1, 512 + pg_temp.roll(n, 111, 2560)) i
) images;

INSERT INTO promotions (id, name, percent, valid)
SELECT
    n,
    concat('Week ', n, ' sale'),
    5 + pg_temp.roll(n, 112, 40),
    daterange(date '2026-01-05' + n * 7, CASE WHEN n < 40 THEN date '2026-01-12' + n * 7 END)
FROM generate_series(1, 40) n;

INSERT INTO feature_flags (name, enabled, rules) VALUES
    ('new_checkout', true, '{"percentage": 25, "countries": ["DE", "FR"]}'),
    ('gift_cards', false, NULL),
    ('search.synonyms', true, '[]'),
    ('maintenance_banner', false, '"We will be back soon \u2013 \\o/"');

INSERT INTO reviews (id, product_id, user_id, stars, body, created_at)
SELECT
    n,
    1 + pg_temp.roll(n, 120, %(products)s),
    CASE WHEN pg_temp.roll(n, 121, 20) > 0 THEN 1 + pg_temp.roll(n, 122, %(users)s) END,
    1 + pg_temp.roll(n, 123, 5),
    CASE WHEN pg_temp.roll(n, 124, 3) > 0 THEN
        concat_ws(' ', pg_temp.sentence(n, 125), pg_temp.sentence(n, 131), pg_temp.sentence(n, 137))
    END,
    pg_temp.moment(n, %(reviews)s)
FROM generate_series(1, %(reviews)s::bigint) n;

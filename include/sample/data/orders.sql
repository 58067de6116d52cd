-- One to five items an order; the items first, so that an order is inserted with its total and never updated.
INSERT INTO order_items (order_id, line_no, product_id, quantity, unit_price)
SELECT n, line, product, 1 + pg_temp.roll(n * 10 + line, 141, 3), pg_temp.price(product)
FROM generate_series(1, %(orders)s::bigint) n,
    LATERAL generate_series(1, 1 + pg_temp.roll(n, 140, 5)) line,
    LATERAL (SELECT 1 + pg_temp.roll(n * 10 + line, 142, %(products)s) AS product) p;

-- Address n belongs to user n (people.sql), so the buyer's own address is at hand.
INSERT INTO orders (id, user_id, shipping_address_id, status, total, note, metadata, placed_at, updated_at)
OVERRIDING SYSTEM VALUE
SELECT
    n,
    buyer,
    CASE WHEN pg_temp.roll(n, 151, 15) > 0 THEN buyer END,
    pg_temp.pick(n, 159, ARRAY['cart', 'placed', 'paid', 'shipped', 'delivered', 'delivered', 'delivered', 'cancelled'])
        ::order_status,
    total,
    CASE pg_temp.roll(n, 152, 12)
        WHEN 0 THEN 'Leave at the door'
        WHEN 1 THEN E'Ring twice, please.\nDanke schön!'
        WHEN 2 THEN ''
    END,
    jsonb_build_object(
        'channel', pg_temp.pick(n, 153, ARRAY['web', 'app', 'phone']),
        'campaign', pg_temp.roll(n, 154, 40),
        'gift', pg_temp.roll(n, 155, 10) = 0,
        'client', jsonb_build_object(
            'ip', host(pg_temp.address(n)),
            'locale', pg_temp.pick(n, 156, ARRAY['de-DE', 'fr-FR', 'pl-PL']))),
    placed,
    placed + interval '1 hour' * pg_temp.roll(n, 157, 72)
FROM generate_series(1, %(orders)s::bigint) n
    JOIN (SELECT order_id, sum(line_total) AS total FROM order_items GROUP BY order_id) items ON items.order_id = n,
    LATERAL (SELECT 1 + pg_temp.roll(n, 150, %(users)s) AS buyer, pg_temp.moment(n, %(orders)s) AS placed) o
ORDER BY n;

-- One payment for every order that got beyond the cart, then a refund for every cancelled one.
INSERT INTO payments (id, order_id, method, status, amount, provider_reference, provider_response, created_at)
SELECT
    id,
    id,
    pg_temp.pick(id, 160, ARRAY['card', 'card', 'transfer', 'wallet'])::payment_method,
    (CASE WHEN status = 'placed' THEN 'authorized' ELSE 'captured' END)::payment_status,
    total,
    concat('pay_', lpad(to_hex(pg_temp.roll(id, 161, 4294967296)), 8, '0')),
    jsonb_build_object(
        'network', pg_temp.pick(id, 162, ARRAY['visa', 'mastercard', 'sepa']),
        'risk', pg_temp.roll(id, 163, 100),
        '3ds', true),
    placed_at + interval '1 minute'
FROM orders WHERE status <> 'cart' ORDER BY id;

INSERT INTO payments (id, order_id, refund_of, method, status, amount, provider_reference, created_at)
SELECT %(orders)s + id, id, id, 'transfer', 'refunded', -total, concat('ref_', id), updated_at + interval '2 days'
FROM orders WHERE status = 'cancelled' ORDER BY id;

-- Keys, indexes, the materialised view and triggers of the shop: created after the data (see schema.sql).

ALTER TABLE users ADD PRIMARY KEY (id);
ALTER TABLE profiles ADD PRIMARY KEY (user_id);
ALTER TABLE addresses ADD PRIMARY KEY (id);
ALTER TABLE categories ADD PRIMARY KEY (id);
ALTER TABLE products ADD PRIMARY KEY (id), ADD UNIQUE (sku);
ALTER TABLE product_images ADD PRIMARY KEY (product_id);
ALTER TABLE promotions ADD PRIMARY KEY (id),
    ADD CONSTRAINT promotions_do_not_overlap EXCLUDE USING gist (valid WITH &&);
ALTER TABLE orders ADD PRIMARY KEY (id);
ALTER TABLE order_items ADD PRIMARY KEY (order_id, line_no);
ALTER TABLE payments ADD PRIMARY KEY (id);
ALTER TABLE reviews ADD PRIMARY KEY (id);
ALTER TABLE sessions ADD PRIMARY KEY (id);
ALTER TABLE feature_flags ADD PRIMARY KEY (name);
ALTER TABLE page_views ADD PRIMARY KEY (id, viewed_at);
ALTER TABLE audit_log ADD PRIMARY KEY (id);

CREATE UNIQUE INDEX users_email_key ON users (lower(email));
CREATE INDEX users_referred_by_idx ON users (referred_by) WHERE referred_by IS NOT NULL;
CREATE INDEX users_default_address_idx ON users (default_address_id);
CREATE INDEX profiles_preferences_idx ON profiles USING gin (preferences);
CREATE INDEX addresses_user_idx ON addresses (user_id);
CREATE INDEX products_category_idx ON products (category_id);
CREATE INDEX products_search_idx ON products USING gin (search);
CREATE INDEX products_tags_idx ON products USING gin (tags);
CREATE INDEX products_attributes_idx ON products USING gin (attributes jsonb_path_ops);
CREATE INDEX orders_user_idx ON orders (user_id, placed_at DESC);
CREATE INDEX orders_address_idx ON orders (shipping_address_id);
CREATE INDEX orders_open_idx ON orders (placed_at) WHERE status IN ('placed', 'paid');
CREATE UNIQUE INDEX orders_reference_key ON orders (reference);
CREATE INDEX order_items_product_idx ON order_items (product_id);
CREATE INDEX payments_order_idx ON payments (order_id);
CREATE INDEX payments_refund_of_idx ON payments (refund_of) WHERE refund_of IS NOT NULL;
CREATE INDEX reviews_product_idx ON reviews (product_id);
CREATE INDEX reviews_user_idx ON reviews (user_id);
CREATE INDEX reviews_body_idx ON reviews USING gin (to_tsvector('pg_catalog.english', body));
CREATE INDEX sessions_user_idx ON sessions (user_id);
CREATE INDEX page_views_viewed_at_idx ON page_views (viewed_at);
CREATE INDEX audit_log_entity_idx ON audit_log (entity, entity_id);
CREATE INDEX audit_log_occurred_at_idx ON audit_log USING brin (occurred_at);
CREATE INDEX audit_log_changes_idx ON audit_log USING gin ((changes -> 'after') jsonb_path_ops);

-- users and addresses point at each other: a restore that loads one of them first cannot satisfy both keys at once.
ALTER TABLE users
    ADD FOREIGN KEY (referred_by) REFERENCES users ON DELETE SET NULL,
    ADD FOREIGN KEY (default_address_id) REFERENCES addresses ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE profiles ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE;
ALTER TABLE addresses ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE;
ALTER TABLE categories ADD FOREIGN KEY (parent_id) REFERENCES categories ON DELETE RESTRICT;
ALTER TABLE products ADD FOREIGN KEY (category_id) REFERENCES categories ON DELETE RESTRICT;
ALTER TABLE product_images ADD FOREIGN KEY (product_id) REFERENCES products ON DELETE CASCADE;
ALTER TABLE orders
    ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE,
    ADD FOREIGN KEY (shipping_address_id) REFERENCES addresses ON DELETE SET NULL;
ALTER TABLE order_items
    ADD FOREIGN KEY (order_id) REFERENCES orders ON DELETE CASCADE,
    ADD FOREIGN KEY (product_id) REFERENCES products ON DELETE RESTRICT;
ALTER TABLE payments
    ADD FOREIGN KEY (order_id) REFERENCES orders ON DELETE CASCADE,
    ADD FOREIGN KEY (refund_of) REFERENCES payments ON DELETE CASCADE;
ALTER TABLE reviews
    ADD FOREIGN KEY (product_id) REFERENCES products ON DELETE CASCADE,
    ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE SET NULL;
ALTER TABLE sessions ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE;

CREATE MATERIALIZED VIEW product_sales AS
    SELECT product_id, count(*) AS order_lines, sum(quantity) AS units, sum(line_total) AS revenue
    FROM order_items
    GROUP BY product_id;
CREATE UNIQUE INDEX product_sales_key ON product_sales (product_id);
CREATE VIEW open_orders AS
    SELECT o.id, o.reference, u.email, o.total, o.placed_at
    FROM orders o JOIN users u ON u.id = o.user_id
    WHERE o.status IN ('placed', 'paid');

CREATE TRIGGER users_updated_at BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER orders_updated_at BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER users_audit AFTER INSERT OR UPDATE OR DELETE ON users FOR EACH ROW EXECUTE FUNCTION write_audit_log();
CREATE TRIGGER products_audit AFTER INSERT OR UPDATE OR DELETE ON products
    FOR EACH ROW EXECUTE FUNCTION write_audit_log();
CREATE TRIGGER orders_audit AFTER INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION write_audit_log();
CREATE TRIGGER order_items_total AFTER INSERT OR UPDATE OR DELETE ON order_items
    FOR EACH ROW EXECUTE FUNCTION keep_order_total();
CREATE TRIGGER product_images_unlink AFTER DELETE ON product_images FOR EACH ROW EXECUTE FUNCTION unlink_image();

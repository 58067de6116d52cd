#!/bin/bash
# The backup script of the playbook that this project replaces, line by line; without its retention and its curl to Slack.
set -e
BACKUP_DIR=$TMPDIR
TIMESTAMP=$(date +%Y%m%d_%H%M%S)

pg_dump "$DATABASE_URL" > "$BACKUP_DIR/backup_${TIMESTAMP}.sql"
gzip "$BACKUP_DIR/backup_${TIMESTAMP}.sql"
aws s3 cp "$BACKUP_DIR/backup_${TIMESTAMP}.sql.gz" "$S3_TARGET/"
rm "$BACKUP_DIR/backup_${TIMESTAMP}.sql.gz"

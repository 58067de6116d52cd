#!/bin/bash
# The restore procedure of the playbook that this project replaces. Its psql goes on after errors; here, none may pass.
set -e
cd "$TMPDIR"
aws s3 cp --only-show-errors "$S3_TARGET/$BACKUP" .
gunzip "$BACKUP"
psql -q -v ON_ERROR_STOP=1 "$DATABASE_URL" < "${BACKUP%.gz}" > /dev/null
rm "${BACKUP%.gz}"

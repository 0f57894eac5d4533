#!/bin/sh
# Makes this standby the primary, once: fence.py runs it with FENCING_TOKEN in its environment, perhaps twice.
# PGDATA is the standby's folder, TOKEN_FILE holds the token under which it is the primary.
set -eu
: "${PGDATA:?}" "${TOKEN_FILE:?}" "${FENCING_TOKEN:?}"
PG_CTL=${PG_CTL:-/usr/lib/postgresql/15/bin/pg_ctl}

# The token first: a primary without its token would be refused by the guard.
echo "$FENCING_TOKEN" > "$TOKEN_FILE.draft"
sync -d "$TOKEN_FILE.draft"
mv "$TOKEN_FILE.draft" "$TOKEN_FILE"

# PostgreSQL removes the file when it is promoted: then a former run has done it.
[ -e "$PGDATA/standby.signal" ] || exit 0
exec "$PG_CTL" promote --wait --timeout=60 --pgdata="$PGDATA"

#!/bin/sh
# A check of kind `script`: is the PostgreSQL at this address the primary, and does it answer?
# check_primary.sh ADDRESS PORT; user and password as libpq finds them (PGUSER, PGPASSFILE).
# Exit codes as Nagios has them: 0 good, 2 bad.
set -u
PSQL=${PSQL:-/usr/lib/postgresql/15/bin/psql}
PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-2}
export PGCONNECT_TIMEOUT

where="host=$1 port=$2 dbname=${PGDATABASE:-postgres}"
standby=$("$PSQL" -XAtq "$where" -c 'SELECT pg_is_in_recovery()' 2>&1) || {
    echo "$standby"
    exit 2
}
[ "$standby" = f ] || {
    echo "it is a standby"
    exit 2
}
echo "it is the primary"

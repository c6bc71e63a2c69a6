#!/bin/sh
# Makes a cluster in an empty volume, then runs it. Nothing but builtins of the shell and programs of
# Postgres: there is nothing else in the image.
set -eu
if [ ! -s "$PGDATA/ready" ]; then
  # A first start that was cut short leaves a cluster that nobody can trust; it holds nothing yet.
  if [ -s "$PGDATA/PG_VERSION" ]; then
    echo "the first start of this volume was cut short; remove the volume and start again" >&2
    exit 1
  fi
  umask 077
  printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
  initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --encoding=UTF8 --no-locale \
    --auth-local=trust --auth-host=scram-sha-256 --data-checksums >/dev/null
  printf 'host all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
  for name in $POSTGRES_DATABASES; do
    printf 'CREATE DATABASE "%s"\n' "$name" | postgres --single -D "$PGDATA" postgres >/dev/null
  done
  printf 'yes\n' >"$PGDATA/ready"
fi
exec postgres -c listen_addresses='*' "$@"

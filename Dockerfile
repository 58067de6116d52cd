# Airflow with what the tasks run: Postgres clients, gpg and zstd. Used by docker-compose.yaml; complete without its mounts.
FROM apache/airflow:3.3.2-python3.12

USER root
# pg_dump has to be at least as new as the server. Debian's is older; the script adds PGDG, the repository of the
# PostgreSQL project.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gnupg postgresql-common zstd \
    && /usr/share/postgresql-common/pgdg/apt.*.sh -y \
    && apt-get install -y --no-install-recommends postgresql-client-18 \
    && rm -rf /var/lib/apt/lists/*
# A new volume that is mounted there takes over its owner.
RUN install -d -o airflow -g root /srv/uploads /srv/restores
USER airflow

COPY requirements.txt /
RUN pip install --no-cache-dir -r /requirements.txt

COPY dags /opt/airflow/dags
COPY plugins /opt/airflow/plugins
COPY include /opt/airflow/include
ENV BACKUP_PLAYBOOK_CONFIG=/opt/airflow/include/config

"""Command line of the sample application: load its data, check its database, serve it."""

import argparse
import contextlib
import os
import sys
from pathlib import Path

import psycopg

from include.sample.checks import check
from include.sample.generate import SampleError, load, load_huge
from include.sample.server import ShopServer
from include.sample.uploads import write_uploads


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except SampleError as error:
        print(error, file=sys.stderr)
    except psycopg.OperationalError as error:
        print(f"The database cannot be reached or stopped answering: {str(error).strip()}", file=sys.stderr)
        print("Check --dsn, the password and that the server runs.", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m include.sample", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    loading = commands.add_parser("load", help="create the shop in an empty database")
    loading.add_argument("--scale", type=float, default=1.0, help="1.0 (default) is 1.3 GB, 0.01 is enough to play")
    loading.add_argument("--seed", type=int, default=1, help="another seed gives other data (default: 1)")
    loading.add_argument("--huge", action="store_true", help="one huge table instead of the whole shop")
    loading.set_defaults(run=_load)

    reviewing = commands.add_parser("load-reviews", help="create the reviews in an empty MongoDB database")
    reviewing.add_argument("--uri", required=True, help="address of the server: mongodb://host:27017/")
    reviewing.add_argument("--database", default="reviews", help="default: reviews")
    reviewing.add_argument("--count", type=int, default=20_000, help="of about half a kilobyte each (default: 20,000)")
    reviewing.set_defaults(run=_load_reviews)

    uploading = commands.add_parser("load-uploads", help="write the uploaded files into a directory")
    uploading.add_argument("directory", type=Path)
    uploading.set_defaults(run=_load_uploads)

    checking = commands.add_parser("check", help="run the application's integration checks; exit code 1 if one fails")
    checking.set_defaults(run=_check)

    serving = commands.add_parser("serve", help="serve /api/health and /users/<id> on 127.0.0.1")
    serving.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    serving.set_defaults(run=_serve)

    for command in (loading, checking, serving):
        given = os.environ.get("DATABASE_URL")
        help_ = "connection string (default: DATABASE_URL); PGPASSWORD may hold the password"
        command.add_argument("--dsn", required=given is None, default=given, help=help_)
    return parser


def _load(options: argparse.Namespace) -> int:
    rows = (load_huge if options.huge else load)(options.dsn, options.scale, options.seed)
    for table, count in rows.items():
        print(f"{count:>12,}  {table}")
    return 0


def _load_reviews(options: argparse.Namespace) -> int:
    from include.sample.reviews import load_reviews

    load_reviews(options.uri, options.database, options.count)
    return 0


def _load_uploads(options: argparse.Namespace) -> int:
    print(f"{write_uploads(options.directory):>12,}  files")
    return 0


def _check(options: argparse.Namespace) -> int:
    results = check(options.dsn)
    for result in results:
        print(f"{'ok    ' if result.ok else 'FAILED'}  {result.name}: {result.detail}")
    return 0 if all(result.ok for result in results) else 1


def _serve(options: argparse.Namespace) -> int:
    with ShopServer(options.dsn, options.port) as server:
        print(f"The shop listens on http://127.0.0.1:{server.server_port}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Follows the relay with the Python `atproto` client and prints one JSON line per event.

Usage: consumer.py ws://127.0.0.1:PORT
"""

import json
import os
import sys
import threading

from atproto import (
    CAR,
    FirehoseSubscribeReposClient,
    models,
    parse_subscribe_repos_message,
)

Repos = models.ComAtprotoSyncSubscribeRepos


class Client(FirehoseSubscribeReposClient):
    """The client with short pauses: its own only grow, to minutes after a few restarts."""

    def _get_reconnection_delay(self) -> float:
        return 0.2


def describe(event) -> dict:
    line = {"kind": type(event).__name__, "seq": event.seq}
    if isinstance(event, Repos.Commit):
        car = CAR.from_bytes(event.blocks)
        line["did"] = event.repo
        line["root"] = str(car.root)
        line["records"] = [
            op.path for op in event.ops if op.cid is not None and op.cid in car.blocks
        ]
        return line
    line["did"] = event.did
    if isinstance(event, Repos.Sync):
        line["root"] = str(CAR.from_bytes(event.blocks).root)
    return line


def end_with_parent() -> None:
    """Nobody reads the lines of a parent that is gone, however it went."""
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    cursor = 0

    def on_message(frame) -> None:
        nonlocal cursor
        event = parse_subscribe_repos_message(frame)
        print(json.dumps(describe(event)), flush=True)
        # A reconnect goes on after the last event that was handled.
        cursor = event.seq
        client.update_params(Repos.Params(cursor=cursor))

    def on_error(error: BaseException) -> None:
        print(json.dumps({"error": repr(error)}), flush=True)

    threading.Thread(target=end_with_parent, daemon=True).start()
    while True:
        # It takes an orderly close, such as 1001 of a server that restarts, for the end.
        client = Client(Repos.Params(cursor=cursor), base_uri=f"{sys.argv[1]}/xrpc")
        client.start(on_message, on_error)


if __name__ == "__main__":
    main()

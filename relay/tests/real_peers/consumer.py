"""Follows the relay with the Python `atproto` client and prints one JSON line per event.

Usage: consumer.py ws://127.0.0.1:PORT
"""

import json
import sys

from atproto import (
    CAR,
    FirehoseSubscribeReposClient,
    models,
    parse_subscribe_repos_message,
)


def main() -> None:
    params = models.ComAtprotoSyncSubscribeRepos.Params(cursor=0)
    client = FirehoseSubscribeReposClient(params, base_uri=f"{sys.argv[1]}/xrpc")

    def on_message(frame) -> None:
        event = parse_subscribe_repos_message(frame)
        line = {"kind": type(event).__name__, "seq": event.seq}
        if isinstance(event, models.ComAtprotoSyncSubscribeRepos.Commit):
            blocks = CAR.from_bytes(event.blocks).blocks
            line["did"] = event.repo
            line["rev"] = event.rev
            line["records"] = sum(
                1 for op in event.ops if op.cid is not None and op.cid in blocks
            )
        else:
            line["did"] = event.did
        print(json.dumps(line), flush=True)
        # A reconnect goes on after the last event that was handled.
        client.update_params(
            models.ComAtprotoSyncSubscribeRepos.Params(cursor=event.seq)
        )

    def on_error(error: BaseException) -> None:
        print(json.dumps({"error": repr(error)}), flush=True)

    client.start(on_message, on_error)


if __name__ == "__main__":
    main()

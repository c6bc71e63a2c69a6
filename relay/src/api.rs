//! HTTP: xrpc, admin, health (spec 12). Reads all rooms, changes only by commands.

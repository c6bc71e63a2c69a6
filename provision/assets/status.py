"""Says in one object of JSON how a relay's host is. Runs there as root, by `provision deployment status`.

Each part is asked by itself: one that does not answer is an `error` in its place, and
hides no other.
"""

import base64
import json
import os
import subprocess
import time
import urllib.parse
import urllib.request

# Where things are; the program that runs this writes it here.
ASKED = {}
PATIENCE_SECONDS = 5
UNWELL = 503
WANTED = "ActiveState,SubState,NRestarts,MemoryCurrent,ActiveEnterTimestamp,Result"
METRICS = (
    "relay_eventlog_head_seq",
    "relay_eventlog_window_seconds",
    "relay_eventlog_disk_bytes",
    "relay_firehose_lag_events_max",
    "relay_firehose_consumers_depth",
    "relay_upstream_connected",
    "relay_process_resident_bytes",
    "relay_ingest_queue_depth",
)


def said(*words):
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=30, check=False
    )
    return done.stdout.strip()


def asked(url, headers=None):
    # Proxies are for what lies elsewhere.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with opener.open(request, timeout=PATIENCE_SECONDS) as answer:
            return answer.read()
    except urllib.error.HTTPError as refusal:
        if refusal.code != UNWELL:
            raise
        # A relay that is not well says why.
        return refusal.read()


def part(look):
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other parts are shown
        return {
            "error": str(
                getattr(error, "reason", None) or error or type(error).__name__
            )[:300]
        }


def settings(file):
    found = {}
    with open(f"{ASKED['etc']}/{file}", encoding="utf-8") as lines:
        for line in lines:
            name, mark, value = line.strip().partition("=")
            if mark and not name.startswith("#"):
                found[name.removeprefix("export ").strip()] = value.strip().strip("\"'")
    return found


def near(names, usual):
    """Where something listens, as this machine reaches it."""
    given = next((ENV[name] for name in names if ENV.get(name)), usual)
    host, _, port = given.rpartition(":")
    return f"{'127.0.0.1' if host in ('', '0.0.0.0', '[::]') else host}:{port}"


def number(text):
    return int(text) if text.isdigit() else None


def unit(name):
    lines = said(
        "systemctl", "show", "--timestamp=unix", "-p", WANTED, name
    ).splitlines()
    has = dict(line.partition("=")[::2] for line in lines)
    return {
        "active": has.get("ActiveState", "unknown"),
        "sub": has.get("SubState", ""),
        "result": has.get("Result", ""),
        "restarts": number(has.get("NRestarts", "")),
        "memory": number(has.get("MemoryCurrent", "")),
        "since": number(has.get("ActiveEnterTimestamp", "").removeprefix("@")),
    }


def units():
    clusters = said(
        "systemctl", "list-units", "--plain", "--no-legend", "postgresql@*.service"
    )
    names = ASKED["units"] + [line.split()[0] for line in clusters.splitlines() if line]
    return {name.removesuffix(".service"): unit(name) for name in names}


def program():
    links = {}
    for name in ("current", "previous"):
        path = f"{ASKED['programs']}/{name}"
        links[name] = (
            os.path.basename(os.readlink(path)) if os.path.islink(path) else None
        )
    links["version"] = (
        said(f"{ASKED['programs']}/current/relay", "--version")
        if links["current"]
        else None
    )
    return links


def health():
    return json.loads(asked(f"http://{METRICS_AT}/_health"))


def overview():
    """What the relay tells operators; its password does not leave this machine."""
    password = settings("secrets/relay.env")["RELAY_ADMIN_PASSWORD"]
    pair = base64.b64encode(f"admin:{password}".encode()).decode()
    address = near(("RELAY_ADMIN_BIND",), "127.0.0.1:2472")
    url = f"http://{address}/admin/v1/status"
    return json.loads(asked(url, {"Authorization": f"Basic {pair}"}))["hosts"]


def metrics():
    found = {}
    for line in asked(f"http://{METRICS_AT}/metrics").decode().splitlines():
        name = line.partition(" ")[0].partition("{")[0]
        if name in METRICS:
            found[name] = found.get(name, 0) + float(line.rpartition(" ")[2])
    return found


def disks():
    found = {}
    for path in (
        "/",
        ENV.get("RELAY_DATA_DIR", "/"),
        ENV.get("RELAY_PERSIST_DIR", "/"),
    ):
        while not os.path.ismount(path):
            path = os.path.dirname(path) or "/"
        room = os.statvfs(path)
        found[path] = {
            "mount": path,
            "bytes": room.f_blocks * room.f_frsize,
            "free": room.f_bavail * room.f_frsize,
            "grows": part(lambda at=path: grows(at)),
        }
    return list(found.values())


def grows(mount):
    """By how many bytes a second its free space became less."""
    return query(
        f'-deriv(node_filesystem_avail_bytes{{mountpoint="{mount}",fstype!="rootfs"}}[6h])'
    )


def query(words):
    words = urllib.parse.urlencode({"query": words})
    url = f"http://{ASKED['prometheus']}/api/v1/query?{words}"
    result = json.loads(asked(url))["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def alerts():
    found = []
    answer = json.loads(asked(f"http://{ASKED['prometheus']}/api/v1/alerts"))
    for alert in answer["data"]["alerts"]:
        if alert["state"] == "firing":
            words = alert["annotations"]
            labels = alert["labels"]
            found.append(
                {
                    "name": labels.get("alertname", ""),
                    "severity": labels.get("severity", ""),
                    "since": alert["activeAt"],
                    "summary": words.get("summary", ""),
                    "action": words.get("action", ""),
                }
            )
    return found


def memory():
    with open("/proc/meminfo", encoding="ascii") as lines:
        table = dict(line.split(":") for line in lines)
    kilobytes = {
        name: int(table[name].split()[0]) for name in ("MemTotal", "MemAvailable")
    }
    return {
        "bytes": kilobytes["MemTotal"] * 1024,
        "free": kilobytes["MemAvailable"] * 1024,
    }


def backup():
    place = ASKED["backups"]
    names = sorted(os.listdir(place)) if os.path.isdir(place) else []
    whole = [name for name in names if os.path.isfile(f"{place}/{name}/manifest.json")]
    if not whole:
        return {"name": None, "made": None, "verified": verified()}
    with open(f"{place}/{whole[-1]}/manifest.json", encoding="utf-8") as manifest:
        made = json.load(manifest)["madeMs"] // 1000
    return {"name": whole[-1], "made": made, "verified": verified()}


def verified():
    """When one was last restored on trial, as is written for Prometheus."""
    path = f"{ASKED['exported']}/relay_backup_verify.prom"
    if not os.path.isfile(path):
        return None
    with open(path, encoding="ascii") as lines:
        values = [
            line.split()[-1]
            for line in lines
            if line.strip() and not line.startswith("#")
        ]
    return int(float(values[-1])) if values else None


def failed():
    lines = said(
        "systemctl", "list-units", "--state=failed", "--plain", "--no-legend"
    ).splitlines()
    return [line.split()[0] for line in lines if line.strip()]


ENV = part(lambda: settings("env"))
METRICS_AT = near(("RELAY_METRICS_LISTEN", "RELAY_METRICS_BIND"), "127.0.0.1:2471")
print(
    json.dumps(
        {
            "at": int(time.time()),
            "settings": ENV.get("error"),
            "units": part(units),
            "failed": part(failed),
            "program": part(program),
            "health": part(health),
            "hosts": part(overview),
            "metrics": part(metrics),
            "rate": part(
                lambda: query("rate(relay_eventlog_appended_events_total[5m])")
            ),
            "disks": part(disks),
            "memory": part(memory),
            "backup": part(backup),
            "alerts": part(alerts),
        }
    )
)

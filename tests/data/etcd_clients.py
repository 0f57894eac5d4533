"""Uses an etcd with two clients that are not ours: etcd3 (gRPC) and etcd3gw (JSON over HTTP, streams included).

python3 etcd_clients.py HOST PORT [PREFIX]; prints what it saw, a line each, the same for every etcd.
"""

import io
import sys
import threading

import etcd3
import etcd3gw

host, port = sys.argv[1], int(sys.argv[2])
prefix = sys.argv[3] if len(sys.argv) > 3 else "/python"


def grpc():
    client = etcd3.client(host=host, port=port, timeout=20)
    key = prefix + "/grpc/"
    client.put(key + "a", "1")
    value, meta = client.get(key + "a")
    print("get", value, meta.key.decode(), meta.version)
    print("absent", client.get(key + "none")[0])
    print("replaced", client.replace(key + "a", "1", "2"), client.replace(key + "a", "1", "3"))
    print("made", client.put_if_not_exists(key + "a", "4"), client.put_if_not_exists(key + "b", "5"))
    done, answers = client.transaction(
        compare=[client.transactions.value(key + "a") == "2", client.transactions.version(key + "b") > 0],
        success=[client.transactions.put(key + "c", "6"), client.transactions.get(key + "b")],
        failure=[client.transactions.delete(key + "a")],
    )
    print("txn", done, answers[1][0][0])
    found = client.get_prefix(key, sort_order="descend", sort_target="key")
    print("prefix", [(value, meta.key.decode()) for value, meta in found])

    events, cancel = client.watch_prefix(key)
    client.put(key + "d", "7")
    client.delete(key + "d")
    seen = [next(events) for _ in range(2)]
    print("watched", [(type(event).__name__, event.key, event.value) for event in seen])
    cancel()
    print("cancelled", list(events))

    lease = client.lease(60)
    client.put(key + "leased", "8", lease)
    info = client.get_lease_info(lease.id)
    print("lease", info.grantedTTL, list(info.keys), [answer.TTL for answer in lease.refresh()])
    lease.revoke()
    print("revoked", client.get(key + "leased")[0])

    with client.lock(prefix + "-lock", ttl=30) as lock:
        print("lock", lock.is_acquired())
    print("unlocked", lock.is_acquired())

    print("members", len(list(client.members)), "alarms", list(client.list_alarms()))
    file = io.BytesIO()
    client.snapshot(file)
    print("snapshot", file.tell() > 100, "status", client.status().db_size > 0)
    revision = meta.mod_revision
    client.compact(client.get_response(key + "a").header.revision)
    try:
        events, _ = client.watch(key + "a", start_revision=revision)
        next(events)
    except etcd3.exceptions.RevisionCompactedError as error:
        print("compacted", error.compacted_revision > revision)
    print("deleted", client.delete_prefix(key).deleted)


def gateway():
    client = etcd3gw.Etcd3Client(host=host, port=port, timeout=20, api_path="/v3/")
    key = prefix + "/json/"
    print("put", client.put(key + "a", "1"), client.get(key + "a"))
    print("created", client.create(key + "a", "2"), client.create(key + "b", "3"))
    print("replaced", client.replace(key + "a", "1", "4"), client.get(key + "a"))
    found = client.get_prefix(key, sort_order="ascend", sort_target="key")
    print("prefix", [(value, meta["key"]) for value, meta in found])

    events, cancel = client.watch_prefix(key)
    writer = threading.Timer(0.2, lambda: (client.put(key + "c", "5"), client.delete(key + "c")))
    writer.start()
    seen = [next(events) for _ in range(2)]
    print("watched", [(event.get("type", "PUT"), event["kv"]["key"]) for event in seen])
    writer.join()
    cancel()

    lease = client.lease(60)
    client.put(key + "leased", "6", lease=lease)
    print("lease", lease.ttl() > 50, lease.keys(), lease.refresh(), lease.revoke())
    print("revoked", client.get(key + "leased"))
    with client.lock(prefix + "-gw", ttl=30) as lock:
        print("lock", lock.is_acquired())
    print("members", len(client.members()), "status", "dbSize" in client.status())
    print("deleted", client.delete_prefix(key))


grpc()
gateway()

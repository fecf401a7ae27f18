"""paho-mqtt on a lead: each line of standard input is a request in JSON, each line of standard output an answer or an event.

connect {link, host, port, transport, ca, user, password, id, version, clean, expiry, will, filters} -> {link, done, present}
publish {link, message} -> {link, done} once it is acknowledged          close, kill {link} -> {link, done}
What a link receives comes as {link, message}. A request that fails is answered {link, error}.
"""
import json
import os
import socket
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PATIENCE = 10  # seconds
links = {}
printing = threading.Lock()


def say(**what):
    with printing:
        print(json.dumps(what), flush=True)


def properties_of(packet, message):
    p = Properties(packet)
    if message.get("user"):
        p.UserProperty = [tuple(pair) for pair in message["user"]]
    if message.get("content_type"):
        p.ContentType = message["content_type"]
    if message.get("expiry"):
        p.MessageExpiryInterval = message["expiry"]
    if message.get("response_topic"):
        p.ResponseTopic = message["response_topic"]
    if message.get("delay"):
        p.WillDelayInterval = message["delay"]
    return p


def received(link, m):
    p = getattr(m, "properties", None)
    say(link=link, message={
        "topic": m.topic, "payload": m.payload.decode(), "qos": m.qos, "retain": bool(m.retain),
        "user": [list(pair) for pair in getattr(p, "UserProperty", [])],
        "content_type": getattr(p, "ContentType", ""),
        "expiry": getattr(p, "MessageExpiryInterval", 0),
        "response_topic": getattr(p, "ResponseTopic", ""),
        "identifiers": getattr(p, "SubscriptionIdentifier", []),
    })


def connect(r):
    link, v5 = r["link"], r["version"] == 5
    kind = dict(client_id=r["id"], protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311, transport="websockets" if r["transport"] == "ws" else "tcp")
    if not v5:
        kind["clean_session"] = r["clean"]
    first = [mqtt.CallbackAPIVersion.VERSION1] if hasattr(mqtt, "CallbackAPIVersion") else []  # since paho 2
    c = mqtt.Client(*first, **kind)
    c.username_pw_set(r["user"], r["password"])
    if r["transport"] == "ws":
        c.ws_set_options(path="/mqtt")
    if r["transport"] == "tls":
        c.tls_set(ca_certs=r["ca"])
    if will := r.get("will"):
        extra = dict(properties=properties_of(PacketTypes.WILLMESSAGE, will)) if v5 else {}
        c.will_set(will["topic"], will["payload"], will["qos"], will["retain"], **extra)
    connected, subscribed = threading.Event(), threading.Event()
    told, wanted = {}, {}

    def on_connect(_client, _userdata, flags, code, _properties=None):
        told.update(code=int(getattr(code, "value", code)), present=bool(flags["session present"]))
        connected.set()

    def on_subscribe(_client, _userdata, mid, codes, _properties=None):
        wanted.setdefault("codes", []).extend(int(getattr(code, "value", code)) for code in codes)
        if len(wanted["codes"]) == len(r["filters"]):
            subscribed.set()

    c.on_connect, c.on_subscribe = on_connect, on_subscribe
    c.on_message = lambda _client, _userdata, m: received(link, m)
    c.on_disconnect = lambda client, *_: client.disconnect()  # so that it stays away
    if v5:
        p = Properties(PacketTypes.CONNECT)
        p.SessionExpiryInterval = r["expiry"]
        c.connect(r["host"], r["port"], 60, clean_start=r["clean"], properties=p)
    else:
        c.connect(r["host"], r["port"], 60)
    c.loop_start()
    links[link] = c
    if not connected.wait(PATIENCE):
        raise TimeoutError("no CONNACK")
    if told["code"]:
        raise ConnectionError("refused with %d" % told["code"])
    for f in r["filters"]:
        if v5:
            p = Properties(PacketTypes.SUBSCRIBE)
            if f.get("identifier"):
                p.SubscriptionIdentifier = f["identifier"]
            c.subscribe(f["filter"], options=SubscribeOptions(qos=f["qos"]), properties=p)
        else:
            c.subscribe(f["filter"], f["qos"])
    if r["filters"] and not subscribed.wait(PATIENCE):
        raise TimeoutError("no SUBACK")
    if any(code > 2 for code in wanted.get("codes", [])):
        raise PermissionError("SUBACK said %s" % wanted["codes"])
    return {"present": told["present"]}


def publish(r):
    m, c = r["message"], links[r["link"]]
    extra = dict(properties=properties_of(PacketTypes.PUBLISH, m)) if r["version"] == 5 else {}
    sent = c.publish(m["topic"], m["payload"], m["qos"], m["retain"], **extra)
    sent.wait_for_publish(PATIENCE)
    if not sent.is_published():
        raise TimeoutError("not acknowledged")


def close(r):
    c = links.pop(r["link"])
    c.disconnect()
    c.loop_stop()


def kill(r):
    c = links.pop(r["link"])
    with socket.socket(fileno=os.dup(c.socket().fileno())) as raw:  # underneath TLS and WebSocket
        raw.shutdown(socket.SHUT_RDWR)
    c.loop_stop()


for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = {"connect": connect, "publish": publish, "close": close, "kill": kill}[request["do"]](request)
        say(link=request["link"], done=True, **(answer or {}))
    except Exception as failure:
        say(link=request["link"], error="%s: %s" % (type(failure).__name__, failure))

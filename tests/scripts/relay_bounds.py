"""The relay's bounds, without a platform: memory, files, what a dead process left. Run by the Python of Open WebUI."""

import asyncio
import importlib.util
import json
import os
import pathlib
import sys
import tempfile
import types

spec = importlib.util.spec_from_file_location("relay", sys.argv[1])
relay = importlib.util.module_from_spec(spec)
spec.loader.exec_module(relay)


def event(number, size=0):
    return {"id": f"e{number}", "event": "note.created", "data": {"text": "x" * size}}


async def memory():
    worker = relay.Worker("f", relay.Kept())
    for number in range(relay.MEMORY_EVENTS + 3):
        worker.keep(event(number))
    assert len(worker.kept.memory) == relay.MEMORY_EVENTS
    assert worker.kept.dropped == 3
    assert json.loads(worker.kept.memory[0])["id"] == "e3", "the oldest goes first"
    worker.kept.memory.clear()
    worker.kept.bytes = 0
    for number in range(40):
        worker.keep(event(number, 1024 * 1024))
    assert worker.kept.bytes <= relay.MEMORY_BYTES
    assert worker.kept.bytes == sum(map(len, worker.kept.memory))
    before = worker.kept.bytes
    worker.pick(5, 10**9)
    worker.put_back()
    assert worker.kept.bytes == before and json.loads(worker.kept.memory[0])["id"] == "e9"
    worker.keep({"id": "bad", "data": float("nan")})
    worker.keep({"id": "odd \ud800", "data": {1, 2}})
    assert json.loads(worker.kept.memory[-1])["id"] == "odd ?"


async def patterns():
    worker = relay.Worker("f", relay.Kept())
    for text, wanted in [("auth.* user.created", "auth.api_key.created user.created"), ("*", "a.b"), ("", "")]:
        worker.valves = relay.Event.Valves(patterns=text)
        assert all(worker.wanted(name) for name in wanted.split())
        assert worker.wanted("user.deleted") == (text == "*") and not (text != "*" and worker.wanted("authx.y"))


async def files():
    root = pathlib.Path(tempfile.mkdtemp())
    spill = relay.Spill(root, "one")
    line = b"x" * (1024 * 1024 - 1)
    for number in range(70):
        spill.append([b"%04d" % number + line[4:]])
    size = sum(path.stat().st_size for path in spill.folder.glob("*.jsonl"))
    assert size <= relay.SPILL_BYTES and spill.dropped > 0
    assert spill.dropped + spill.events() == 70
    _, events, _ = spill.oldest()
    assert events[0].startswith(b"%04d" % spill.dropped), "the oldest went first"

    small = root / "f"
    living, dead = relay.Spill(small, "living"), relay.Spill(small, "dead")
    living.append([b"1"])
    dead.append([b"2", b"3"])
    with open(dead.segments[0]["path"], "ab") as file:
        file.write(b"torn")
    try:
        relay.Spill(small, "dead")
        raise AssertionError("two have the same folder")
    except OSError:
        pass
    os.close(dead.held)
    heir = relay.Spill(small, "heir")
    heir.adopt()
    assert heir.events() == 2, "only what nobody holds is taken"
    segment, events, offset = heir.oldest()
    assert events == [b"2", b"3"]
    heir.sent(segment, len(events), offset)
    assert heir.segments == [] and not (small / "dead").exists() and (small / "living").exists()

    # A platform that starts again and again while nobody answers.
    often = root / "often"
    spill = relay.Spill(often, "%012d" % 0)
    spill.append([b"1"])
    for number in range(1, 40):
        os.close(spill.held)
        spill = relay.Spill(often, "%012d" % number)
        spill.adopt()
        spill.append([b"%d" % (number + 1)])
    assert spill.oldest()[1] == [b"%d" % (number + 1) for number in range(40)], "in their order"


async def no_harm():
    app = types.SimpleNamespace(state=types.SimpleNamespace())
    function = relay.Event()
    await function.event(None, "f", app)
    await function.event({"event": "a.b"}, None, None)
    await function.event({"event": "a.b"}, "f", app)
    app.state.chathooks_relays["f"].task.cancel()


for test in (memory, patterns, files, no_harm):
    asyncio.run(test())
print("ok")

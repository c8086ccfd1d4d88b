"""
title: chathooks relay
author: chathooks
version: 1
description: Sends this platform's events to a chathooks dispatcher. Managed by chathooks: edits are reverted.
required_open_webui_version: 0.10.0
"""

# Managed by chathooks, edits are reverted. What it does is said in the valves; nothing in this text is configuration.
#
# Each worker process keeps the events that are subscribed in memory and posts them in signed batches (Standard
# Webhooks). What cannot be sent at once goes to files in the platform's data folder, which a later process of the
# same folder picks up. Everything is bounded: the oldest is given up first, counted, and told in the next hello.
# A killed process can lose what came in during its last quarter of a second.

import asyncio
import base64
import fcntl
import hashlib
import hmac
import inspect
import json
import logging
import os
import random
import shutil
import threading
import time
import uuid
from collections import deque
from pathlib import Path

import aiohttp
from pydantic import BaseModel, Field

VERSION = "1"
# Of what lies on the application's state; between modules of different layouts events are handed over in files.
LAYOUT = 1
# A module that was loaded later takes over, never the other way round.
LOADED = time.monotonic()

BATCH_EVENTS = 100
BATCH_BYTES = 1024 * 1024
# An event waits at most this long for company, in seconds.
LINGER = 0.2
MEMORY_EVENTS = 10_000
MEMORY_BYTES = 32 * 1024 * 1024
SPILL_BYTES = 64 * 1024 * 1024
SEGMENT_BYTES = 4 * 1024 * 1024
# What a dispatcher takes in one hello; more are told by the next look of whoever is hinted to.
HINTS = 32
SUBJECT = 256
HELLO_EVERY = 15.0
FIRST_DELAY = 0.2
LONGEST_DELAY = 30.0
# Nobody has answered for this long: then the delays grow to QUIET_DELAY, and after GIVE_UP the relay stops.
QUIET_AFTER = 3600.0
QUIET_DELAY = 300.0
GIVE_UP = 24 * 3600.0
TIMEOUT = 10.0
ANSWER_BYTES = 256 * 1024

log = logging.getLogger("chathooks.relay")

try:
    # What the platform runs, after its own rewriting; what it stores is the same text.
    SOURCE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
except Exception:
    SOURCE = None


class Event:
    class Valves(BaseModel):
        intake_url: str = Field(default="", description="Managed by chathooks, edits are reverted. Where events go.")
        signing_secret: str = Field(
            default="",
            description="Key of the signature, whsec_...",
            json_schema_extra={"input": {"type": "password"}},
        )
        patterns: str = Field(default="", description="Which events are sent: *, prefix.* or names, between spaces.")
        config: str = Field(default="", description="Says which configuration this is.")

    def __init__(self):
        self.valves = self.Valves()

    async def event(self, event, __id__=None, __app__=None, __event__=None):
        # Nothing that goes wrong here may reach the platform.
        try:
            worker = worker_of(__app__, __id__)
            if worker is not None:
                worker.take(self.valves, event, __event__)
        except Exception as error:
            log.warning("the relay could not take an event: %s", type(error).__name__)


def worker_of(app, function_id):
    """The part of this relay in this process, running; it takes over what an earlier module left."""
    if app is None or not function_id:
        return None
    workers = getattr(app.state, "chathooks_relays", None)
    if workers is None:
        workers = app.state.chathooks_relays = {}
    worker = workers.get(function_id)
    if worker is None or worker.loaded < LOADED:
        kept = Kept()
        if worker is not None:
            kept = worker.leave(LAYOUT) or kept
        worker = workers[function_id] = Worker(function_id, kept)
    worker.start()
    return worker


class Kept:
    """What outlives a module."""

    def __init__(self):
        self.layout = LAYOUT
        self.id = uuid.uuid4().hex[:12]
        self.memory = deque()
        self.bytes = 0
        # Taken from memory and not acknowledged yet.
        self.flying = []
        self.hints = []
        self.dropped = 0
        self.spill = None


class Spill:
    """Events in files of their own folder, oldest first. One process has it: whoever holds the lock on it."""

    def __init__(self, root, name):
        self.folder = root / name
        self.held = None
        for _ in range(5):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.held = lock(self.folder)
            if self.held is not None:
                break
        if self.held is None:
            raise OSError("the folder is in use")
        self.guard = threading.Lock()
        self.segments = []
        self.number = 0
        self.dropped = 0

    def events(self):
        return sum(segment["events"] for segment in self.segments)

    def append(self, events):
        with self.guard:
            data = b"".join(event + b"\n" for event in events)
            if not self.segments or self.segments[-1]["size"] >= SEGMENT_BYTES:
                self.number += 1
                path = self.folder / f"{self.number:010}.jsonl"
                self.segments.append({"path": path, "size": 0, "offset": 0, "events": 0})
            last = self.segments[-1]
            with open(os.open(last["path"], os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                # A write that failed half-way is written over.
                file.truncate(last["size"])
                file.seek(last["size"])
                file.write(data)
            last["size"] += len(data)
            last["events"] += len(events)
            self.bound()

    def bound(self):
        while len(self.segments) > 1 and sum(segment["size"] for segment in self.segments) > SPILL_BYTES:
            self.give_up_oldest()

    def give_up_oldest(self):
        segment = self.segments.pop(0)
        self.dropped += segment["events"]
        segment["path"].unlink(missing_ok=True)

    def oldest(self):
        """The next batch: its file, its events, and the offset behind it."""
        with self.guard:
            segment = self.segments[0]
            events, size, offset = [], 0, segment["offset"]
            with open(segment["path"], "rb") as file:
                file.seek(offset)
                while offset < segment["size"] and len(events) < BATCH_EVENTS and size < BATCH_BYTES:
                    line = file.readline()
                    if not line.endswith(b"\n"):
                        # The last write of a process that died.
                        offset = segment["size"]
                        break
                    offset += len(line)
                    size += len(line)
                    events.append(line[:-1])
            return segment, events, offset

    def sent(self, segment, count, offset):
        with self.guard:
            if not self.segments or self.segments[0] is not segment:
                return
            segment["offset"] = offset
            segment["events"] = max(segment["events"] - count, 0)
            if offset >= segment["size"]:
                self.segments.pop(0)
                segment["path"].unlink(missing_ok=True)

    def adopt(self):
        """Takes what processes left that are no more."""
        found = []
        for folder in sorted(self.folder.parent.iterdir()):
            held = lock(folder) if folder != self.folder else None
            if held is None:
                continue
            try:
                for path in sorted(folder.glob("*.jsonl")):
                    # Not its old name with something before it: handed on often enough, that gets too long.
                    self.number += 1
                    target = self.folder / f"{self.number:010}.jsonl"
                    path.rename(target)
                    text = target.read_bytes()
                    events = text.count(b"\n")
                    found.append({"path": target, "size": len(text), "offset": 0, "events": events})
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)
        with self.guard:
            self.segments[:0] = [segment for segment in found if segment["size"]]
            self.bound()

    def leave(self):
        """Lets the next one adopt it."""
        os.close(self.held)

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.leave()


def lock(folder):
    """A descriptor that holds the folder until it is closed or the process ends; None: someone else has it."""
    held = None
    try:
        held = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had it may have removed it in between.
        if os.fstat(held).st_ino == os.stat(folder / "lock").st_ino:
            return held
    except OSError:
        pass
    if held is not None:
        os.close(held)
    return None


def open_spill(function_id, name):
    try:
        from open_webui.env import DATA_DIR

        spill = Spill(Path(DATA_DIR) / "chathooks-relay" / function_id, name)
        spill.adopt()
        return spill
    except Exception as error:
        log.warning("the relay keeps events in memory only: %s", type(error).__name__)
        return None


class Worker:
    """One process's part of the relay: takes events, and sends them from a task of its own."""

    def __init__(self, function_id, kept):
        self.loaded = LOADED
        self.function_id = function_id
        self.kept = kept
        self.valves = Event.Valves()
        self.patterns = ("", set(), ())
        self.key = ("", b"")
        self.state = "Active"
        self.platform = None
        self.task = None
        self.wake = asyncio.Event()
        self.told = False
        self.begin()

    def begin(self):
        # Configuration and state of the last hello that was answered.
        self.said = None
        # When the next regular hello is due, and before when none is tried again.
        self.hello_at = self.hello_again_at = self.hello_delay = 0.0
        # Before when nothing is sent; the delay is zero while all goes well.
        self.send_at = self.delay = 0.0
        self.sent_at = self.spilled_at = 0.0
        self.unanswered = False
        self.answered_at = time.monotonic()

    # -- taking ------------------------------------------------------------------------------------------------

    def take(self, valves, event, full):
        name = event.get("event") or ""
        subject = (event.get("subject") or {}).get("id")
        self.platform = event.get("version") or self.platform
        self.configure(valves)
        if self.state != "Stopping":
            off = name == "function.disable_started" and subject == self.function_id
            self.state = "Off" if off else "Active"
        if name.startswith(("function.", "config.", "channel.webhook.")):
            known = isinstance(subject, str) and len(subject.encode("utf-8", "replace")) <= SUBJECT
            hint = {"event": name, "subject": subject if known else None}
            if hint not in self.kept.hints and len(self.kept.hints) < HINTS:
                self.kept.hints.append(hint)
        if self.wanted(name):
            # Another function may have changed the dictionary that all of them are given.
            try:
                event = full.model_dump(by_alias=True)
            except Exception:
                pass
            self.keep(event)
        if name.startswith("system.shutdown."):
            self.state = "Stopping"
            self.put_aside()
        self.wake.set()

    def configure(self, valves):
        if valves.config != self.valves.config or valves.intake_url != self.valves.intake_url:
            # Where nobody answered before, somebody may now.
            self.hello_at = self.hello_again_at = self.hello_delay = self.send_at = self.delay = 0.0
        self.valves = valves

    def wanted(self, name):
        if self.patterns[0] != self.valves.patterns:
            words = self.valves.patterns.replace(",", " ").split()
            prefixes = tuple(word[:-1] for word in words if word.endswith(".*"))
            self.patterns = (self.valves.patterns, set(words), prefixes)
        _, exact, prefixes = self.patterns
        return name in exact or "*" in exact or name.startswith(prefixes)

    def keep(self, event):
        kept = self.kept
        try:
            text = json.dumps(event, ensure_ascii=False, allow_nan=False, skipkeys=True, default=str)
        except (TypeError, ValueError):
            kept.dropped += 1
            return
        data = text.encode("utf-8", "replace")
        kept.memory.append(data)
        kept.bytes += len(data)
        while kept.memory and (len(kept.memory) > MEMORY_EVENTS or kept.bytes > MEMORY_BYTES):
            kept.bytes -= len(kept.memory.popleft())
            kept.dropped += 1

    def pick(self, count, size):
        """Takes from memory what is to be sent or written next; it counts as flying until that is done."""
        kept = self.kept
        while kept.memory and count > 0 and size > 0:
            event = kept.memory.popleft()
            kept.bytes -= len(event)
            kept.flying.append(event)
            count -= 1
            size -= len(event)
        return kept.flying

    def put_back(self):
        kept = self.kept
        kept.memory.extendleft(reversed(kept.flying))
        kept.bytes += sum(map(len, kept.flying))
        kept.flying = []

    def put_aside(self):
        """Everything in memory goes to the files now: the process may end at any moment."""
        events = self.pick(MEMORY_EVENTS, MEMORY_BYTES)
        if self.kept.spill is None or not events:
            return self.put_back()
        try:
            self.kept.spill.append(events)
            self.kept.flying = []
        except OSError:
            self.put_back()

    async def spill(self):
        """The same, without holding up the process."""
        if self.kept.spill is None or not self.kept.memory:
            return
        events = self.pick(MEMORY_EVENTS, MEMORY_BYTES)
        try:
            self.spilled_at = time.monotonic()
            await asyncio.to_thread(self.kept.spill.append, events)
            if self.kept.flying is events:
                self.kept.flying = []
        except OSError:
            if self.kept.flying is events:
                self.put_back()

    # -- the task ----------------------------------------------------------------------------------------------

    def start(self):
        if self.task is None or self.task.done():
            self.begin()
            self.task = asyncio.get_running_loop().create_task(self.run())

    def leave(self, layout):
        """Another module takes over; what was on its way is sent again by that, and known by its ids."""
        if self.task is not None:
            self.task.cancel()
        self.put_back()
        if layout == self.kept.layout:
            return self.kept
        self.put_aside()
        if self.kept.spill is not None:
            self.kept.spill.leave()
        return None

    async def run(self):
        if self.kept.spill is None:
            self.kept.spill = await asyncio.to_thread(open_spill, self.function_id, self.kept.id)
        # Neither a proxy of the environment nor cookies: the dispatcher is spoken to directly.
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as web:
            while True:
                try:
                    if not await self.step(web):
                        return
                except asyncio.CancelledError:
                    raise
                except Exception as error:
                    log.warning("the relay stumbled: %s", type(error).__name__)
                    await asyncio.sleep(1.0)

    async def step(self, web):
        """What is due; says whether to go on."""
        await self.rest()
        if not self.valves.intake_url:
            return True
        now = time.monotonic()
        if self.hello_due() <= now:
            if self.said is not None and now >= self.hello_at and self.state == "Active":
                await self.look()
            await self.hello(web)
        if self.state in ("Off", "Replaced", "Gone"):
            await self.send(web)
            await self.spill()
            if self.state == "Gone" and self.kept.spill is not None:
                self.kept.spill.remove()
                self.kept.spill = None
            return self.state == "Active"
        if time.monotonic() >= self.send_at:
            await self.send(web)
        if self.delay or len(self.kept.memory) > MEMORY_EVENTS // 4:
            await self.spill()
        if time.monotonic() - self.answered_at > GIVE_UP:
            self.give_up()
            return False
        return True

    async def rest(self):
        """Until something is due."""
        while True:
            self.wake.clear()
            wait = self.due() - time.monotonic()
            if wait <= 0:
                return
            try:
                await asyncio.wait_for(self.wake.wait(), wait)
            except asyncio.TimeoutError:
                pass

    def due(self):
        if not self.valves.intake_url:
            return time.monotonic() + HELLO_EVERY
        due = self.hello_due()
        if self.waiting_in_files():
            due = min(due, self.send_at)
        if self.kept.memory:
            full = len(self.kept.memory) >= BATCH_EVENTS
            due = min(due, max(self.send_at, self.sent_at if full else self.sent_at + LINGER))
            if self.delay and self.kept.spill is not None:
                # What came in while nothing can be sent goes to the files soon.
                due = min(due, self.spilled_at + LINGER)
        return due

    def hello_due(self):
        changed = self.kept.hints or self.said != (self.valves.config, self.state)
        return self.hello_again_at if changed else max(self.hello_at, self.hello_again_at)

    def waiting_in_files(self):
        return self.kept.spill is not None and bool(self.kept.spill.segments)

    # -- speaking ----------------------------------------------------------------------------------------------

    async def look(self):
        """Is the function still there, switched on, and this text? A look that fails changes nothing."""
        try:
            from open_webui.models.functions import Functions

            found = await done(Functions.get_function_by_id(self.function_id))
            if found is None:
                # It says None as well when the database does not answer; this one raises then.
                everyone = await done(Functions.get_functions_by_type("event"))
                if all(function.id != self.function_id for function in everyone):
                    self.state = "Gone"
                return
            if SOURCE is not None and hashlib.sha256(found.content.encode()).hexdigest() != SOURCE:
                self.state = "Replaced"
                return
            self.state = "Active" if found.is_active else "Off"
            valves = await done(Functions.get_function_valves_by_id(self.function_id))
            if valves:
                self.configure(Event.Valves(**valves))
        except Exception as error:
            log.debug("the relay could not look itself up: %s", type(error).__name__)

    async def hello(self, web):
        kept = self.kept
        hints, kept.hints = kept.hints, []
        says = (self.valves.config, self.state)
        waiting, spilled = (kept.spill.events(), kept.spill.dropped) if kept.spill is not None else (0, 0)
        body = {
            "relay": {
                "worker": kept.id,
                "version": VERSION,
                "config": self.valves.config,
                "platformVersion": self.platform or "",
                "state": "Off" if self.state == "Gone" else self.state,
                "buffered": len(kept.memory) + len(kept.flying) + waiting,
                "dropped": kept.dropped + spilled,
            },
            "hints": hints,
        }
        url = self.valves.intake_url
        head, slash, tail = url.rpartition("/")
        url = head + "/relay" if slash and tail.split("?")[0] == "events" else url
        unanswered = self.unanswered
        status, _, _ = await self.post(web, url, json.dumps(body).encode(), "hello_" + uuid.uuid4().hex)
        now = time.monotonic()
        if status is not None and status < 300:
            self.said = says
            self.hello_at = now + HELLO_EVERY
            self.hello_delay = 0.0
            self.hello_again_at = now + LINGER
            if unanswered:
                # Somebody is there again.
                self.send_at = now
        else:
            # What is refused as malformed would be so again.
            kept.hints = ([] if status in (400, 413, 422) else hints + kept.hints)[:HINTS]
            self.hello_delay = min(max(self.hello_delay * 2, FIRST_DELAY), self.longest())
            self.hello_again_at = now + self.hello_delay * random.uniform(0.8, 1.2)

    async def send(self, web):
        """Oldest first, until there is nothing more, or somebody says stop."""
        kept = self.kept
        while True:
            if self.waiting_in_files():
                segment, events, offset = await asyncio.to_thread(kept.spill.oldest)
                if not await self.deliver(web, events):
                    return
                await asyncio.to_thread(kept.spill.sent, segment, len(events), offset)
            elif kept.memory:
                flying = self.pick(BATCH_EVENTS, BATCH_BYTES)
                delivered = await self.deliver(web, flying)
                if kept.flying is not flying:
                    # Put aside in the meantime: it is sent again from there, and known by its ids.
                    continue
                if not delivered:
                    self.put_back()
                    return
                kept.flying = []
                self.sent_at = time.monotonic()
                if len(kept.memory) < BATCH_EVENTS:
                    return
            else:
                return
            if self.hello_due() <= time.monotonic():
                return

    async def deliver(self, web, events):
        """Whether these are settled: taken, or refused for good and counted."""
        if not events:
            return True
        body = b"[" + b",".join(events) + b"]"
        name = "batch_" + hashlib.sha256(body).hexdigest()[:32]
        url = self.valves.intake_url
        url += ("&" if "?" in url else "?") + "partial=true"
        status, answer, after = await self.post(web, url, body, name)
        if status is not None and status < 300:
            self.delay = 0.0
            refused = answer.get("errors") if isinstance(answer, dict) else None
            self.kept.dropped += len(refused) if isinstance(refused, list) else 0
            return True
        if status in (400, 409, 413, 422):
            if len(events) == 1:
                self.kept.dropped += 1
                return True
            middle = len(events) // 2
            return await self.deliver(web, events[:middle]) and await self.deliver(web, events[middle:])
        self.back_off(after, slow=status in (401, 403, 404, 405, 410, 415))
        return False

    def back_off(self, after, slow=False):
        self.delay = self.longest() if slow else min(max(self.delay * 2, FIRST_DELAY), self.longest())
        wait = self.delay if after is None else min(max(after, FIRST_DELAY), self.longest())
        self.send_at = time.monotonic() + wait * random.uniform(0.8, 1.2)

    def longest(self):
        return QUIET_DELAY if time.monotonic() - self.answered_at > QUIET_AFTER else LONGEST_DELAY

    async def post(self, web, url, body, name):
        """Status (None: no answer), the answer's JSON, seconds of Retry-After."""
        stamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "chathooks-relay/" + VERSION,
            "webhook-id": name,
            "webhook-timestamp": stamp,
            "webhook-signature": self.sign(f"{name}.{stamp}.".encode() + body),
        }
        try:
            async with web.post(url, data=body, headers=headers, allow_redirects=False) as response:
                text = b""
                async for chunk in response.content.iter_chunked(ANSWER_BYTES):
                    text += chunk
                    if len(text) > ANSWER_BYTES:
                        break
                status, after = response.status, retry_after(response.headers.get("Retry-After"))
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError):
            self.unanswered = True
            if not self.told:
                self.told = True
                log.warning("nobody answers the relay %s; it goes on trying and says no more", self.function_id)
            return None, None, None
        self.unanswered = False
        self.answered_at = time.monotonic()
        if self.told and status < 300:
            self.told = False
            log.warning("the relay %s is answered again", self.function_id)
        try:
            return status, json.loads(text), after
        except ValueError:
            return status, None, after

    def sign(self, data):
        if self.key[0] != self.valves.signing_secret:
            secret = self.valves.signing_secret
            self.key = (secret, base64.b64decode(secret.removeprefix("whsec_")))
        return "v1," + base64.b64encode(hmac.new(self.key[1], data, hashlib.sha256).digest()).decode()

    def give_up(self):
        kept = self.kept
        log.warning("nobody has answered the relay %s for a day: it stops and gives up what it kept", self.function_id)
        kept.dropped += len(kept.memory)
        kept.memory.clear()
        kept.bytes = 0
        if kept.spill is not None:
            while kept.spill.segments:
                kept.spill.give_up_oldest()


async def done(value):
    return await value if inspect.isawaitable(value) else value


def retry_after(text):
    try:
        return max(float(text), 0.0)
    except (TypeError, ValueError):
        return None

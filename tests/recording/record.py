"""Drives a session of a real Open WebUI and records the event envelopes. Started by record.sh.

The session never sleeps for luck: every step names the events it causes and waits until all of them are
recorded. At the end an envelope that no step named is an error too, so the recording is the same each time
up to ids and times.
"""

import argparse
import base64
import collections
import contextlib
import difflib
import http.server
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
import uuid

VERSION = "0.12.4"
CATALOGUE_SIZE = 191
START_SECONDS = 240
REQUEST_SECONDS = 90
EVENT_SECONDS = 90
STOP_SECONDS = 60
WHOLE_RUN_SECONDS = 1500

# The server schedules these as tasks while it is going down, so they may be lost (and often one is).
MAY_BE_LOST = {"system.shutdown.started", "system.shutdown.completed"}

ADMIN_EMAIL = "admin@example.com"
EVERYONE_READS = [{"principal_type": "user", "principal_id": "*", "permission": "read"}]
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Failure(Exception):
    """A sentence for the person who runs the script."""


def say(text):
    print(f"record: {text}", file=sys.stderr, flush=True)


# --- the world around the server ---------------------------------------------------------------------------


class Upstream(http.server.BaseHTTPRequestHandler):
    """What the server talks to: an OpenAI-compatible provider, and a receiver of an event webhook."""

    protocol_version = "HTTP/1.1"
    webhook_bodies = []
    lock = threading.Lock()

    def log_message(self, *_):
        pass

    def answer(self, status, body, content_type="application/json"):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/v1/models":
            names = ["stub-model", "stub-failing"]
            listed = [{"id": name, "object": "model", "owned_by": "stub"} for name in names]
            self.answer(200, {"object": "list", "data": listed})
        else:
            self.answer(404, {"error": {"message": "There is no such page here.", "type": "not_found"}})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/events":
            with self.lock:
                self.webhook_bodies.append(body)
            self.answer(200, {"ok": True})
        elif self.path == "/v1/chat/completions":
            self.complete(json.loads(body))
        elif self.path == "/v1/images/generations":
            self.answer(200, {"created": 1, "data": [{"b64_json": base64.b64encode(PIXEL).decode()}]})
        elif self.path == "/v1/audio/speech":
            self.answer(200, b"ID3 not really a sound", "audio/mpeg")
        elif self.path == "/v1/audio/transcriptions":
            self.answer(200, {"text": "This is what was said."})
        else:
            self.answer(404, {"error": {"message": "There is no such page here.", "type": "not_found"}})

    def complete(self, request):
        if request["model"] == "stub-failing":
            error = {"message": "The stub was told to fail.", "type": "server_error", "code": "stub_failure"}
            self.answer(500, {"error": error})
            return
        question = str(request["messages"][-1].get("content", ""))
        # A long answer shows where the server cuts strings.
        text = "A long answer. " * 100 if "at length" in question else "Grüße from the stub model ✅"
        head = {"id": "chatcmpl-stub", "created": 1, "model": request["model"]}
        usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
        if not request.get("stream"):
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.answer(200, {**head, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        chunks = [
            {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
            for delta, end in [({"role": "assistant", "content": text}, None), ({}, "stop")]
        ]
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"]
        self.answer(200, "".join(lines).encode(), "text/event-stream")


@contextlib.contextmanager
def upstream():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Server:
    """One Open WebUI on a loopback port, with its data in a temporary folder."""

    def __init__(self, program, folder):
        self.program = program
        self.folder = folder
        self.log = folder / "server.log"
        self.process = None
        self.port = None
        self.admin_password = secrets.token_urlsafe(16)
        # Nothing is inherited but the path: a variable of this machine must not change the recording.
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "DATA_DIR": str(folder / "data"),
            "USE_SLIM_DOCKER": "true",
            "OFFLINE_MODE": "true",
            "HF_HUB_OFFLINE": "1",
            "WEBUI_SECRET_KEY": secrets.token_hex(32),
            "WEBUI_ADMIN_EMAIL": ADMIN_EMAIL,
            "WEBUI_ADMIN_PASSWORD": self.admin_password,
            "WEBUI_ADMIN_NAME": "Rhea Admin",
            "ENABLE_API_KEYS": "True",
            "ENABLE_CHANNELS": "True",
            "ENABLE_OLLAMA_API": "False",
            "ENABLE_OPENAI_API": "False",
            # channel.message exists only with this.
            "ENABLE_USER_WEBHOOKS": "True",
            # The receiver of the event webhook is on loopback.
            "ENABLE_LOCAL_WEB_FETCH": "True",
            # The slim installation has no vector store but pgvector; files are then read without one.
            "BYPASS_EMBEDDING_AND_RETRIEVAL": "True",
            # calendar.alert comes from the scheduler; its default period would only cost time.
            "SCHEDULER_POLL_INTERVAL": "1",
        }

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        (self.folder / "data").mkdir(exist_ok=True)
        self.port = free_port()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.program, "serve", "--host", "127.0.0.1", "--port", str(self.port)],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Its own group, so that everything it starts goes with it.
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failure(f"The server ended with status {self.process.returncode} before it was ready.")
            # /ready answers only when the startup has completed; /health answers earlier.
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(f"{self.url}/ready", timeout=5):
                    return
            time.sleep(0.2)
        raise Failure(f"The server was not ready after {START_SECONDS} seconds.")

    def stop(self):
        if self.process is None:
            return
        group = self.process.pid
        try:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"The server did not stop within {STOP_SECONDS} seconds and is killed.")
        finally:
            # Also when the wait above was interrupted: nothing may stay behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            self.process.wait(STOP_SECONDS)
            self.process = None


# --- the session -------------------------------------------------------------------------------------------


class Session:
    """Calls of the API, and the envelopes that each is known to cause."""

    def __init__(self, server, recording):
        self.server = server
        self.recording = recording
        self.recording.touch()
        self.tokens = {}
        self.expected = collections.Counter()

    def lines(self):
        # The last piece is empty, or a line that is still being written.
        return self.recording.read_bytes().split(b"\n")[:-1]

    def names(self):
        return [json.loads(line)["event"] for line in self.lines()]

    @contextlib.contextmanager
    def causing(self, *events):
        """Waits, at the end, until every event named here has been recorded since the beginning."""
        before = len(self.lines())
        self.expected.update(events)
        yield
        deadline = time.monotonic() + EVENT_SECONDS
        while True:
            missing = collections.Counter(events) - collections.Counter(self.names()[before:])
            if not missing:
                return
            if time.monotonic() > deadline:
                names = ", ".join(sorted(missing.elements()))
                raise Failure(f"These events did not come within {EVENT_SECONDS} seconds: {names}.")
            time.sleep(0.03)

    def call(self, who, method, path, body=None, events=(), headers=None):
        """One request; `who` is a name with a token or None, `events` what it causes. Returns the JSON."""
        headers = dict(headers or {})
        if who is not None:
            headers.setdefault("Authorization", f"Bearer {self.tokens[who]}")
        data = body
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self.server.url + path, data=data, headers=headers, method=method)
        with self.causing(*events):
            try:
                with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as response:
                    answer = response.read()
            except urllib.error.HTTPError as error:
                detail = error.read().decode(errors="replace")[:500]
                raise Failure(f"{method} {path} answered {error.code}: {detail}") from None
            except OSError as error:
                raise Failure(f"{method} {path} failed: {error}") from None
        try:
            return json.loads(answer)
        except ValueError:
            return answer

    def get(self, who, path):
        return self.call(who, "GET", path)

    def post(self, who, path, body=None, *events):
        return self.call(who, "POST", path, {} if body is None else body, events)

    def delete(self, who, path, *events, body=None):
        return self.call(who, "DELETE", path, body, events)

    def upload(self, who, path, filename, content, content_type, *events):
        boundary = uuid.uuid4().hex
        disposition = f'form-data; name="file"; filename="{filename}"'
        head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: {content_type}\r\n\r\n"
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self.call(who, "POST", path, body, events, headers)

    def sign_in(self, who, email, password, *events):
        form = {"email": email, "password": password}
        self.tokens[who] = self.post(None, "/api/v1/auths/signin", form, *events)["token"]


def install_recorder(s, source, recording):
    base = "/api/v1/functions"
    form = {"id": "recorder", "name": "Recorder", "content": source, "meta": {"description": "Records every event."}}
    s.post("admin", f"{base}/create", form)
    # The path first: the function receives its own enable_started.
    s.post("admin", f"{base}/id/recorder/valves/update", {"path": str(recording)})
    s.post("admin", f"{base}/id/recorder/toggle", None, "function.enable_started", "function.enabled")


def functions(s, recording):
    base = "/api/v1/functions"
    form = {
        "id": "shout",
        "name": "Shout",
        "content": "class Filter:\n    def inlet(self, body: dict) -> dict:\n        return body\n",
        "meta": {"description": "A filter that does nothing."},
    }
    s.post("admin", f"{base}/create", form, "function.created")
    changed = {**form, "content": form["content"] + "# a second version\n"}
    s.post("admin", f"{base}/id/shout/update", changed, "function.updated")
    s.post("admin", f"{base}/id/shout/toggle", None, "function.enable_started", "function.enabled")
    s.post("admin", f"{base}/id/shout/toggle", None, "function.disable_started", "function.disabled")
    s.delete("admin", f"{base}/id/shout/delete", "function.deleted")
    s.post("admin", f"{base}/id/recorder/valves/update", {"path": str(recording)}, "function.valves_updated")


def people(s):
    """Sign-ups, an account made by the admin, roles, profiles, a password, an API key. Returns ids by name."""
    auths, users = "/api/v1/auths", "/api/v1/users"
    s.post(
        "admin",
        "/api/v1/configs/import",
        {"config": {"ui.enable_signup": True, "ui.default_user_role": "pending", "users.enable_status": True}},
        "config.imported",
    )
    ids, password = {"admin": s.get("admin", f"{auths}/")["id"]}, secrets.token_urlsafe(16)
    for name, full in [("ada", "Ada Łukasiewicz"), ("ben", "Ben Okafor")]:
        form = {"name": full, "email": f"{name}@example.com", "password": password}
        # A sign-up is also the first login.
        made = s.post(None, f"{auths}/signup", form, "user.created", "auth.signup", "auth.login")
        ids[name], s.tokens[name] = made["id"], made["token"]
    for name, role in [("carol", "user"), ("dan", "pending")]:
        form = {"name": f"{name.title()} Example", "email": f"{name}@example.com", "password": password, "role": role}
        ids[name] = s.post("admin", f"{auths}/add", form, "user.created")["id"]

    s.post("admin", f"{users}/{ids['ada']}/update", {"role": "user"}, "user.role_updated")
    changed = {"role": "user", "name": "Ben O."}
    s.post("admin", f"{users}/{ids['ben']}/update", changed, "user.role_updated", "user.updated")
    s.post("admin", f"{users}/{ids['dan']}/update", {"password": secrets.token_urlsafe(16)}, "auth.password_changed")
    s.sign_in("carol", "carol@example.com", password, "auth.login")

    profile = {"name": "Ada Ł.", "profile_image_url": "/user.png", "bio": "Writes tests."}
    s.post("ada", f"{auths}/update/profile", profile, "user.profile_updated")
    s.post("ada", f"{auths}/update/timezone", {"timezone": "Europe/Warsaw"}, "user.updated")
    status = {"status_emoji": "✅", "status_message": "here"}
    s.post("ada", f"{users}/user/status/update", status, "user.status_updated")
    # Only users with settings of their own get channel.message.
    s.post("ada", f"{users}/user/settings/update", {"ui": {"theme": "dark"}}, "user.settings_updated")
    new = secrets.token_urlsafe(16)
    s.post("ben", f"{auths}/update/password", {"password": password, "new_password": new}, "auth.password_changed")
    s.sign_in("ben", "ben@example.com", new, "auth.login")

    s.post("admin", f"{auths}/api_key", None, "auth.api_key.created")
    s.delete("admin", f"{auths}/api_key", "auth.api_key.deleted")
    s.post("admin", f"{users}/{ids['dan']}/sessions/revoke", None, "auth.sessions_revoked")
    s.delete("admin", f"{users}/{ids['dan']}", "user.deleted")
    s.post("carol", f"{auths}/signout", None, "auth.logout")
    return ids


def groups(s, ids):
    base = "/api/v1/groups"
    form = {"name": "Physics", "description": "People who measure."}
    group = s.post("admin", f"{base}/create", form, "group.created")["id"]
    s.post("admin", f"{base}/id/{group}/update", {**form, "name": "Physics lab"}, "group.updated")
    s.post("admin", f"{base}/id/{group}/users/add", {"user_ids": [ids["ada"], ids["ben"]]}, "group.member_added")
    s.post("admin", f"{base}/id/{group}/users/remove", {"user_ids": [ids["ben"]]}, "group.member_removed")
    return group


def configuration(s, stub):
    """Settings of several pages, written as the pages write them; then the provider of models."""
    configs = "/api/v1/configs"
    banner = {"id": "b1", "type": "info", "content": "Maintenance on Sunday.", "dismissible": True, "timestamp": 1}
    suggestion = {"title": ["Explain", "a signature"], "content": "Explain how a signature works."}
    for page, change in [
        ("connections", {"ENABLE_BASE_MODELS_CACHE": False}),
        ("tool_servers", {"TOOL_SERVER_CONNECTIONS": []}),
        ("terminal_servers", {"TERMINAL_SERVER_CONNECTIONS": []}),
        ("code_execution", {}),
        ("models", {"DEFAULT_MODELS": "stub-model"}),
    ]:
        # These want the whole form.
        form = {**s.get("admin", f"{configs}/{page}"), **change}
        s.post("admin", f"{configs}/{page}", form, f"config.{page}.updated")
    s.post("admin", f"{configs}/banners", {"banners": [banner]}, "config.banners.updated")
    s.post("admin", f"{configs}/suggestions", {"suggestions": [suggestion]}, "config.suggestions.updated")
    s.post("admin", "/api/v1/evaluations/config", {"ENABLE_EVALUATION_ARENA_MODELS": False}, "config.updated")
    permissions = s.get("admin", "/api/v1/users/default/permissions")
    permissions["features"]["automations"] = True
    s.post("admin", "/api/v1/users/default/permissions", permissions, "user.permissions_updated")

    provider = {
        "ENABLE_OPENAI_API": True,
        "OPENAI_API_BASE_URLS": [f"{stub}/v1"],
        "OPENAI_API_KEYS": ["stub-key-0000"],
        "OPENAI_API_CONFIGS": {},
    }
    s.post("admin", "/openai/config/update", provider, "model.provider_config.updated")
    names = {model["id"] for model in s.get("admin", "/api/models")["data"]}
    if not {"stub-model", "stub-failing"} <= names:
        raise Failure("The server does not list the models of the stub upstream.")


def event_webhook(s, stub):
    """An event webhook beside the function, for comparing what both receive."""
    form = {"name": "Compare", "url": f"{stub}/events", "events": ["*"]}
    hook = s.post("admin", "/api/events/webhooks", form, "config.webhook.updated")["id"]
    return hook


def models(s):
    base = "/api/v1/models"
    form = {
        "id": "tutor",
        "name": "Tutor",
        "base_model_id": "stub-model",
        "meta": {"description": "Explains things."},
        "params": {"system": "Explain."},
    }
    s.post("admin", f"{base}/create", form, "model.created")
    s.post("admin", f"{base}/model/update", {**form, "name": "Patient tutor"}, "model.updated")
    access = {"id": "tutor", "access_grants": EVERYONE_READS}
    s.post("admin", f"{base}/model/access/update", access, "model.access_updated")
    s.post("admin", f"{base}/model/toggle?id=tutor", None, "model.disabled")
    s.post("admin", f"{base}/model/toggle?id=tutor", None, "model.enabled")
    s.post("admin", f"{base}/import", {"models": [{**form, "id": "coach", "name": "Coach"}]}, "model.imported")
    s.post("admin", f"{base}/model/delete", {"id": "coach"}, "model.deleted")
    # The provider's own models need a grant too before others than the admin may use them.
    for name in ["stub-model", "stub-failing"]:
        plain = {"id": name, "name": name, "base_model_id": None, "meta": {}, "params": {}}
        s.post("admin", f"{base}/create", {**plain, "access_grants": EVERYONE_READS}, "model.created")
    # The server learns of new models when somebody lists them, as every page does.
    s.get("admin", "/api/models")


def ask(s, who, model, question, *events):
    """A question in a new saved chat, as the web page asks it. Returns the ids of the chat and its messages."""
    user_message, answer = str(uuid.uuid4()), str(uuid.uuid4())
    form = {
        "model": model,
        "stream": True,
        "messages": [{"role": "user", "content": question}],
        "parent_id": None,
        "id": answer,
        # With a session id the server answers in a task of its own, which is what browsers see.
        "session_id": "recording",
        "user_message": {"id": user_message, "parentId": None, "role": "user", "content": question, "models": [model]},
        "background_tasks": {},
    }
    made = s.post(who, "/api/chat/completions", form, "chat.created", "message.created", "message.created", *events)
    return made["chat_id"], user_message, answer


def completions(s):
    chats = [
        ask(s, "ada", "stub-model", "What is a signature? ✍️", "chat.finished"),
        ask(s, "ada", "tutor", "Explain it at length.", "chat.finished"),
        ask(s, "ben", "stub-failing", "Does this fail?", "model.provider_request.failed", "chat.failed"),
    ]
    # A call without a chat leaves no trace; an event here would be a surplus one.
    s.post("ada", "/api/chat/completions", {"model": "stub-model", "messages": [{"role": "user", "content": "Hello"}]})
    return chats


def chats(s, asked, folder):
    base = "/api/v1/chats"
    chat, question, answer = asked[0]
    at = f"{base}/{chat}"
    s.post("ada", at, {"chat": {"title": "About signatures – 署名"}}, "chat.updated")
    s.post("ada", f"{at}/pin", None, "chat.pinned")
    s.post("ada", f"{at}/pin", None, "chat.unpinned")
    s.post("ada", f"{at}/tags", {"name": "Crypto"}, "chat.tag_added")
    s.delete("ada", f"{at}/tags", "chat.tag_removed", body={"name": "Crypto"})
    s.post("ada", f"{at}/folder", {"folder_id": folder}, "chat.folder_updated")
    s.post("ada", f"{at}/folder", {"folder_id": None}, "chat.folder_updated")
    s.post("ada", f"{at}/share", None, "chat.shared")
    s.post("ada", f"{at}/share", None, "chat.shared")
    s.delete("ada", f"{at}/share", "chat.unshared")
    s.post("ada", f"{at}/clone", {"title": "A copy"}, "chat.cloned")
    s.post("ada", f"{at}/fork", {"message_id": answer}, "chat.cloned")
    s.post("ada", f"{at}/messages/{question}", {"content": "What is a digital signature?"}, "message.updated")
    event = {"type": "status", "data": {"description": "Looking it up", "done": True}}
    s.post("ada", f"{at}/messages/{answer}/event", event, "message.event_received")
    s.delete("ada", f"{at}/messages/{answer}", "message.deleted")
    s.post("ada", f"{at}/archive", None, "chat.archived")
    s.post("ada", f"{at}/archive", None, "chat.unarchived")
    s.post("ada", f"{base}/archive/all", None, "chat.archived")
    s.post("ada", f"{base}/unarchive/all", None, "chat.unarchived")
    s.delete("ada", at, "chat.deleted")

    history = {"currentId": None, "messages": {}}
    s.post("ben", f"{base}/new", {"chat": {"title": "Empty", "history": history, "models": []}}, "chat.created")
    imported = {"chat": {"title": "From elsewhere", "history": history}}
    s.post("admin", f"{base}/import", {"chats": [imported]}, "chat.imported")
    s.post("ben", f"{base}/{asked[2][0]}/share", None, "chat.shared")
    s.delete("ben", f"{base}/share/all", "chat.unshared")
    s.delete("ben", f"{base}/", "chat.deleted_all")


def channels(s, ids, group):
    base = "/api/v1/channels"
    grants = [{**EVERYONE_READS[0], "permission": permission} for permission in ["read", "write"]]
    general = s.post("admin", f"{base}/create", {"name": "general", "access_grants": grants}, "channel.created")["id"]
    at = f"{base}/{general}"
    s.post("admin", f"{at}/update", {"name": "general", "description": "Everything."}, "channel.updated")
    # Ada is a member from her first message on. She is away, having no socket, so she gets a channel.message
    # for each message that follows, and for her own.
    posted = ("message.created", "channel.message")
    message = s.post("ada", f"{at}/messages/post", {"content": "Hello, **everybody** 👋"}, *posted)["id"]
    s.post("ben", f"{at}/messages/post", {"content": "Hello Ada", "parent_id": message}, *posted)
    s.post("ada", f"{at}/messages/{message}/update", {"content": "Hello, all 👋"}, "message.updated")
    s.post("ben", f"{at}/messages/{message}/reactions/add", {"name": "thumbs_up"}, "message.reaction_added")
    s.post("ben", f"{at}/messages/{message}/reactions/remove", {"name": "thumbs_up"}, "message.reaction_removed")
    s.post("admin", f"{at}/messages/{message}/pin", {"is_pinned": True}, "message.pinned")
    s.post("admin", f"{at}/messages/{message}/pin", {"is_pinned": False}, "message.unpinned")

    hook = s.post("admin", f"{at}/webhooks/create", {"name": "deploy-bot"}, "channel.webhook.created")
    s.post(None, f"{base}/webhooks/{hook['id']}/{hook['token']}", {"content": "Deployed **v1.2.3**"}, "message.created")
    s.post("admin", f"{at}/webhooks/{hook['id']}/update", {"name": "deploy bot"}, "channel.webhook.updated")
    s.delete("admin", f"{at}/webhooks/{hook['id']}/delete", "channel.webhook.deleted")
    s.delete("ada", f"{at}/messages/{message}/delete", "message.deleted")

    # A channel with members by name.
    form = {"name": "lab", "type": "group", "user_ids": [ids["ada"]], "group_ids": []}
    lab = s.post("admin", f"{base}/create", form, "channel.created")["id"]
    at = f"{base}/{lab}"
    members = {"user_ids": [ids["ben"]], "group_ids": [group]}
    s.post("admin", f"{at}/update/members/add", members, "channel.member_added")
    s.post("ben", f"{at}/members/active", {"is_active": False}, "channel.member_active_updated")
    s.post("admin", f"{at}/messages/post", {"content": "The meter reads 7."}, *posted)
    s.post("admin", f"{at}/update/members/remove", {"user_ids": [ids["ben"]]}, "channel.member_removed")
    s.delete("admin", f"{at}/delete", "channel.deleted")
    s.delete("admin", f"/api/v1/groups/id/{group}/delete", "group.deleted")


def folders(s, group):
    base = "/api/v1/folders"
    top = s.post("ada", f"{base}/", {"name": "Work"}, "folder.created")["id"]
    inner = s.post("ada", f"{base}/", {"name": "Drafts"}, "folder.created")["id"]
    s.post("ada", f"{base}/{inner}/update", {"name": "Old drafts"}, "folder.updated")
    s.post("ada", f"{base}/{inner}/update/parent", {"parent_id": top}, "folder.parent_updated")
    # Folders cannot be shared with everybody.
    grants = [{"principal_type": "group", "principal_id": group, "permission": "read"}]
    s.post("admin", f"{base}/{top}/access/update", {"access_grants": grants}, "folder.access_updated")
    s.delete("ada", f"{base}/{inner}", "folder.deleted")
    return top


def notes(s):
    base = "/api/v1/notes"
    note = s.post("ada", f"{base}/create", {"title": "Measurements", "data": {}}, "note.created")["id"]
    s.post("ada", f"{base}/{note}/update", {"title": "All measurements"}, "note.updated")
    s.post("admin", f"{base}/{note}/access/update", {"access_grants": EVERYONE_READS}, "note.access_updated")
    s.post("ada", f"{base}/{note}/pin", None, "note.pinned")
    s.post("ada", f"{base}/{note}/pin", None, "note.unpinned")
    s.delete("ada", f"{base}/{note}/delete", "note.deleted")


def prompts(s):
    base = "/api/v1/prompts"
    form = {"command": "summarise", "name": "Summarise", "content": "Summarise {{CLIPBOARD}}."}
    prompt = s.post("admin", f"{base}/create", form, "prompt.created")
    at, first = f"{base}/id/{prompt['id']}", prompt["version_id"]
    s.post("admin", f"{at}/update", {**form, "content": "Summarise briefly: {{CLIPBOARD}}."}, "prompt.updated")
    s.post("admin", f"{at}/update/version", {"version_id": first}, "prompt.version_updated")
    s.post("admin", f"{at}/access/update", {"access_grants": EVERYONE_READS}, "prompt.access_updated")
    s.post("admin", f"{at}/toggle", None, "prompt.disabled")
    s.post("admin", f"{at}/toggle", None, "prompt.enabled")
    s.delete("admin", f"{at}/delete", "prompt.deleted")


def tools(s):
    base = "/api/v1/tools"
    content = (
        "from pydantic import BaseModel\n\n\nclass Tools:\n    class Valves(BaseModel):\n        unit: str = 'mm'\n\n"
        "    def double(self, n: int) -> int:\n        '''Doubles a number.'''\n        return 2 * n\n"
    )
    form = {"id": "doubler", "name": "Doubler", "content": content, "meta": {"description": "Doubles."}}
    s.post("admin", f"{base}/create", form, "tool.created")
    s.post("admin", f"{base}/id/doubler/update", {**form, "name": "The doubler"}, "tool.updated")
    s.post("admin", f"{base}/id/doubler/access/update", {"access_grants": EVERYONE_READS}, "tool.access_updated")
    s.post("admin", f"{base}/id/doubler/valves/update", {"unit": "cm"}, "tool.valves_updated")
    s.delete("admin", f"{base}/id/doubler/delete", "tool.deleted")


def skills(s):
    base = "/api/v1/skills"
    form = {"id": "review", "name": "review", "description": "Reviews code.", "content": "Read it twice."}
    made = s.post("admin", f"{base}/create", form, "skill.created")
    change = {**form, "content": "Read it three times.", "expected_version_id": made.get("version_id")}
    s.post("admin", f"{base}/id/review/update", change, "skill.updated")
    s.post("admin", f"{base}/id/review/toggle", None, "skill.disabled")
    s.post("admin", f"{base}/id/review/toggle", None, "skill.enabled")
    s.delete("admin", f"{base}/id/review/delete", "skill.deleted")


def files(s):
    base = "/api/v1/files"
    uploaded = ("file.uploaded", "retrieval.content.processed")
    made = s.upload("ada", f"{base}/", "readings.txt", b"7 mm\n", "text/plain", *uploaded)["id"]
    changed = ("retrieval.content.processed", "file.content_updated")
    s.post("ada", f"{base}/{made}/data/content/update", {"content": "8 mm"}, *changed)
    s.post("ada", f"{base}/{made}/rename", {"filename": "reading.txt"}, "file.renamed")
    # Nothing can be read out of this one. (No file is deleted: that wants a vector store.)
    failed = ("file.uploaded", "retrieval.content.process_failed")
    s.upload("ada", f"{base}/", "broken.docx", b"not a document", "application/octet-stream", *failed)


def knowledge(s):
    base = "/api/v1/knowledge"
    form = {"name": "Handbook", "description": "How we work."}
    made = s.post("admin", f"{base}/create", form, "knowledge.created")["id"]
    at = f"{base}/{made}"
    s.post("admin", f"{at}/update", {**form, "name": "The handbook"}, "knowledge.updated")
    s.post("admin", f"{at}/access/update", {"access_grants": EVERYONE_READS}, "knowledge.access_updated")
    inner = s.post("admin", f"{at}/dirs/create", {"name": "onboarding"}, "knowledge.directory.created")["id"]
    s.post("admin", f"{at}/dirs/{inner}/update", {"name": "first-week"}, "knowledge.directory.updated")
    s.delete("admin", f"{at}/dirs/{inner}/delete", "knowledge.directory.deleted")
    s.delete("admin", f"{at}/delete", "knowledge.deleted")


def feedback(s, asked):
    base = "/api/v1/evaluations"
    chat, _, answer = asked[1]
    form = {
        "type": "rating",
        "data": {"rating": 1, "model_id": "tutor", "reason": "clear", "comment": "Thank you"},
        "meta": {"chat_id": chat, "message_id": answer},
    }
    first = s.post("ada", f"{base}/feedback", form, "feedback.created")["id"]
    s.post("ada", f"{base}/feedback/{first}", {**form, "data": {"rating": -1}}, "feedback.updated")
    s.delete("ada", f"{base}/feedback/{first}", "feedback.deleted")
    s.post("ada", f"{base}/feedback", form, "feedback.created")
    s.delete("admin", f"{base}/feedbacks/all", "feedback.deleted_all")


def calendars(s):
    base = "/api/v1/calendars"
    first = s.get("ada", f"{base}/")[0]["id"]
    s.post("ada", f"{base}/{first}/default", None, "calendar.default_updated")
    own = s.post("ada", f"{base}/create", {"name": "Lab"}, "calendar.created")["id"]
    s.post("ada", f"{base}/{own}/update", {"name": "Laboratory"}, "calendar.updated")
    # Within the lookahead of the scheduler, so the alert follows at once.
    soon = time.time_ns() + 5 * 60 * 10**9
    form = {"calendar_id": own, "title": "Calibration", "start_at": soon, "location": "Room 7"}
    event = s.post("ada", f"{base}/events/create", form, "calendar.event.created", "calendar.alert")["id"]
    s.post("ada", f"{base}/events/{event}/update", {"title": "Recalibration"}, "calendar.event.updated")
    s.delete("ada", f"{base}/events/{event}/delete", "calendar.event.deleted")
    s.delete("ada", f"{base}/{own}/delete", "calendar.deleted")


def automations(s):
    base = "/api/v1/automations"
    rule = "DTSTART:20990101T060000Z\nRRULE:FREQ=DAILY"
    form = {"name": "Morning brief", "data": {"prompt": "What is new?", "model_id": "stub-model", "rrule": rule}}
    made = s.post("admin", f"{base}/create", form, "automation.created")["id"]
    at = f"{base}/{made}"
    # Its chat has no chat.created, only the two messages.
    started = ("automation.run_started", "message.created", "message.created")
    s.post("admin", f"{at}/run", None, *started, "chat.finished", "automation.run_completed")
    failing = {**form, "data": {**form["data"], "model_id": "stub-failing"}}
    s.post("admin", f"{at}/update", failing, "automation.updated")
    failed = ("model.provider_request.failed", "chat.failed", "automation.run_failed")
    s.post("admin", f"{at}/run", None, *started, *failed)
    s.post("admin", f"{at}/toggle", None, "automation.disabled")
    s.post("admin", f"{at}/toggle", None, "automation.enabled")
    s.delete("admin", f"{at}/delete", "automation.deleted")


def media(s, stub):
    images, audio = "/api/v1/images", "/api/v1/audio"
    changed = {
        **s.get("admin", f"{images}/config"),
        "ENABLE_IMAGE_GENERATION": True,
        "IMAGE_GENERATION_ENGINE": "openai",
        "IMAGE_GENERATION_MODEL": "stub-image",
        "IMAGES_OPENAI_API_BASE_URL": f"{stub}/v1",
    }
    s.post("admin", f"{images}/config/update", changed, "config.updated")
    s.post("admin", f"{images}/generations", {"prompt": "A seal of wax", "size": "512x512"}, "image.generated")

    changed = s.get("admin", f"{audio}/config")
    for kind in ["tts", "stt"]:
        changed[kind]["ENGINE"] = "openai"
        changed[kind]["OPENAI_API_BASE_URL"] = f"{stub}/v1"
        changed[kind]["OPENAI_API_KEY"] = "stub-key-0000"
    s.post("admin", f"{audio}/config/update", changed, "config.updated")
    speech = {"model": "tts-1", "voice": "alloy", "input": "Good morning."}
    for _ in range(2):  # the second one comes from the cache
        s.post("admin", f"{audio}/speech", speech, "audio.speech_requested")


def drive(s, source, recording, stub):
    scenes = iter(range(1, 100))

    def scene(title):
        say(f"{next(scenes):2d}. {title}")

    scene("the server starts, the recorder is installed")
    s.server.start()
    s.sign_in("admin", ADMIN_EMAIL, s.server.admin_password)
    install_recorder(s, source, recording)
    scene("the catalogue")
    listed = s.get("admin", "/api/events")
    if listed["schema"] != VERSION:
        raise Failure(f"The server is version {listed['schema']}, not {VERSION}.")
    catalogue = sorted(entry["event"] for entry in listed["events"])
    scene("a restart, so that the recorder sees one")
    with s.causing("system.startup.started", "system.startup.completed"):
        s.server.stop()
        s.server.start()
    scene("people")
    ids = people(s)
    scene("a group")
    group = groups(s, ids)
    scene("configuration")
    configuration(s, stub)
    hook = event_webhook(s, stub)
    scene("models")
    models(s)
    scene("chat completions, good and failing")
    asked = completions(s)
    scene("feedback")
    feedback(s, asked)
    scene("folders and chats")
    chats(s, asked, folders(s, group))
    scene("channels")
    channels(s, ids, group)
    scene("notes, prompts, tools, skills, functions")
    notes(s)
    prompts(s)
    tools(s)
    skills(s)
    functions(s, recording)
    scene("files and knowledge")
    files(s)
    knowledge(s)
    scene("a calendar with an alert, automations")
    calendars(s)
    automations(s)
    scene("images and speech")
    media(s, stub)
    scene("the end")
    s.delete("admin", f"/api/events/webhooks/{hook}", "config.webhook.updated")
    s.post("admin", "/api/v1/auths/signout", None, "auth.logout")
    s.server.stop()
    return catalogue


# --- what comes out of it ----------------------------------------------------------------------------------


def verify(session, lines, catalogue, folder):
    """Things that must hold for any recording."""
    if len(catalogue) != CATALOGUE_SIZE or len(set(catalogue)) != CATALOGUE_SIZE:
        raise Failure(f"The catalogue has {len(catalogue)} names, not {CATALOGUE_SIZE}.")
    names = collections.Counter(json.loads(line)["event"] for line in lines)
    unknown = sorted(set(names) - set(catalogue))
    if unknown:
        raise Failure(f"These events are not in the catalogue: {', '.join(unknown)}.")
    surplus = names - session.expected - collections.Counter({name: names[name] for name in MAY_BE_LOST})
    if surplus:
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(surplus.items()))
        raise Failure(f"These events came although no step of the session names them: {listed}.")
    for line in lines:
        for private in [str(folder), os.path.expanduser("~")]:
            if len(private) > 1 and private.encode() in line:
                name = json.loads(line)["event"]
                raise Failure(f"An envelope of {name} contains a path of this machine: {private}.")

    with Upstream.lock:
        posted = list(Upstream.webhook_bodies)
    different = [json.loads(body)["event"] for body in posted if body not in set(lines)]
    if different:
        raise Failure(f"The event webhook got other bytes than the function for: {', '.join(different)}.")
    if not posted:
        raise Failure("The event webhook got nothing.")
    say(f"{len(posted)} bodies of an event webhook are byte for byte among the recorded lines")


TYPES = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def paths(value, prefix=""):
    """Every path inside a JSON value with the type found there; `[]` stands for any item of a list."""
    if isinstance(value, dict):
        for key, item in value.items():
            path = f"{prefix}.{key}" if prefix else key
            yield path, TYPES[type(item)]
            yield from paths(item, path)
    elif isinstance(value, list):
        for item in value:
            yield f"{prefix}[]", TYPES[type(item)]
            yield from paths(item, f"{prefix}[]")


def shapes(lines):
    """For each event name its paths: `path: type|type`, with `?` after a path that some envelopes lack."""
    counts = collections.Counter()
    found = collections.defaultdict(lambda: collections.defaultdict(set))
    present = collections.defaultdict(collections.Counter)
    for line in lines:
        envelope = json.loads(line)
        name = envelope["event"]
        counts[name] += 1
        here = set()
        for path, kind in paths(envelope):
            found[name][path].add(kind)
            here.add(path)
        present[name].update(here)
    return {
        name: [
            f"{path}{'' if present[name][path] == counts[name] else '?'}: {'|'.join(sorted(kinds))}"
            for path, kinds in sorted(found[name].items())
        ]
        for name in sorted(found)
    }


def pretty(value):
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def compare(title, committed, recorded):
    """Prints a readable difference; true if there is none."""
    if committed == recorded:
        return True
    say(f"{title} differs (- committed, + recorded now):")
    old, new = committed.splitlines(), recorded.splitlines()
    for line in difflib.unified_diff(old, new, "committed", "recorded", n=4, lineterm=""):
        print(line)
    return False


def check(fixtures, catalogue_file, recorded, catalogue):
    for file in [fixtures / "shapes.json", catalogue_file]:
        if not file.exists():
            raise Failure(f"There is nothing to compare with: {file.name} is missing. Run record.sh first.")
    committed = json.loads((fixtures / "shapes.json").read_text(encoding="utf-8"))
    # An event that may be lost counts only when both recordings have it.
    for name in MAY_BE_LOST:
        if (name in committed) != (name in recorded):
            committed.pop(name, None)
            recorded.pop(name, None)
    same = [
        compare("shapes.json", pretty(committed), pretty(recorded)),
        compare(catalogue_file.name, catalogue_file.read_text(encoding="utf-8"), catalogue),
    ]
    return all(same)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--fixtures", required=True, type=pathlib.Path)
    parser.add_argument("--catalogue", required=True, type=pathlib.Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()

    def give_up(number, _):
        raise Failure("The run took too long." if number == signal.SIGALRM else "The run was interrupted.")

    for number in [signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]:
        signal.signal(number, give_up)
    signal.alarm(WHOLE_RUN_SECONDS)

    folder = pathlib.Path(tempfile.mkdtemp(prefix="chathooks-recording-"))
    recording = folder / "session.jsonl"
    source = (pathlib.Path(__file__).parent / "recorder_function.py").read_text(encoding="utf-8")
    server = Server(options.server, folder)
    session = Session(server, recording)
    try:
        with upstream() as stub:
            names = drive(session, source, recording, stub)
        lines = session.lines()
        verify(session, lines, names, folder)
        recorded, catalogue = shapes(lines), "".join(f"{name}\n" for name in names)
        say(f"{len(lines)} envelopes with {len(recorded)} names")
        if options.check:
            if not check(options.fixtures, options.catalogue, recorded, catalogue):
                return 1
            say("the shapes are the same as the committed ones")
            return 0
        options.fixtures.mkdir(parents=True, exist_ok=True)
        options.catalogue.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(recording, options.fixtures / "session.jsonl")
        (options.fixtures / "shapes.json").write_text(pretty(recorded), encoding="utf-8")
        options.catalogue.write_text(catalogue, encoding="utf-8")
        say("the fixtures are written")
        return 0
    except Failure as failure:
        say(str(failure))
        if server.log.exists():
            tail = server.log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
            print("The last lines of the server's log:", *tail, sep="\n  ", file=sys.stderr)
        return 2
    except Exception:
        # Not 1: that says that the shapes differ.
        traceback.print_exc()
        say("The run failed in a way it did not expect; see above.")
        return 2
    finally:
        signal.alarm(0)
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

"""
title: Recorder
description: Appends every event envelope to a file, one JSON line each.
version: 1.0.0
"""

import json

from pydantic import BaseModel


class Event:
    class Valves(BaseModel):
        path: str = ""

    def __init__(self):
        self.valves = self.Valves()

    async def event(self, event: dict) -> None:
        # The plain dump is byte for byte the body that an event webhook posts; record.py verifies that.
        line = json.dumps(event) + "\n"
        # One write per envelope in append mode: a reader never sees half of one before the newline.
        with open(self.valves.path, "a", encoding="utf-8") as file:
            file.write(line)

"""A client that goes on asking until it is told to end, through whatever happens to the daemon."""

import threading

from harness.engine import VERSION
from harness.http import Client


class Load(threading.Thread):
    """Does one thing over and over until the daemon is dead. `patience`: seconds that what is under way may take then."""

    def __init__(self, engine, work, patience=30):
        super().__init__(daemon=True)
        self.api = Client(engine.socket, VERSION)
        self.work, self.patience = work, patience
        self.ended = threading.Event()
        self.start()

    def run(self):
        while not self.ended.is_set():
            try:
                self.work(self.api)
            except (OSError, ValueError, AssertionError, IndexError, KeyError):
                self.ended.wait(0.01)

    def end(self):
        self.ended.set()
        self.join(self.patience)
        assert not self.is_alive(), "a client hangs although the daemon is dead"

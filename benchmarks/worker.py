"""One fresh process: one topic, one peer, one number of threads; prints JSON.

Run by ``python -m benchmarks``, which starts one for each and takes turns.
"""

import importlib
import json
import sys

from .timing import seconds_per_call


def main(topic, peer):
    module = importlib.import_module(f"benchmarks.topics.{topic}")
    cases = getattr(module, peer)()
    print(json.dumps({name: seconds_per_call(function) for name, function in cases}))


if __name__ == "__main__":
    main(*sys.argv[1:])

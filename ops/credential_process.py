"""What the AWS SDKs run for credentials where they would not ask `ops.credentials` by themselves.

Run as a file, with the address to ask and the file that holds the token: it needs nothing but
Python. Prints what the SDKs expect of a `credential_process`.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

TIMEOUT_SECONDS = 30


def main() -> None:
    """Ask, and print."""
    url, file = sys.argv[1:]
    headers = {"Authorization": Path(file).read_text(encoding="ascii")}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - made by ops.credentials
    # No proxy of the shell's reaches this machine's own address.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
        found = json.load(answer)
    said = {
        "Version": 1,
        "AccessKeyId": found["AccessKeyId"],
        "SecretAccessKey": found["SecretAccessKey"],
        "SessionToken": found["Token"],
        "Expiration": found["Expiration"],
    }
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()

"""The restore.sh of a backup of files, run with nothing of ours in its environment."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

FAST_AWS = r"""#!/bin/sh
# the two commands of restore.sh, without the second that aws takes to start
call() { curl -sSf -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" --aws-sigv4 "aws:amz:$AWS_DEFAULT_REGION:s3" \
    --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" --path-as-is "$AWS_ENDPOINT_URL_S3/$1" -o "$2"; }
case "$1 $2" in
"s3 cp") call "${4#s3://}" "$5" ;;
"s3api get-object")
    key=$(python3 -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.argv[1], safe="/~"))' "$6")
    call "$4/$key?versionId=$8" "$9" ;;
esac
"""


def run_restore_sh(
    script: str, folder: Path, environment: Mapping[str, str], *words: str
) -> "subprocess.CompletedProcess[str]":
    """folder: for the script and its tools. words: its arguments."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "aws").write_text(FAST_AWS)
    (tools / "aws").chmod(0o755)
    file = folder / "restore.sh"
    file.write_text(script)
    path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    return subprocess.run(
        [shutil.which("bash") or "bash", str(file), *words],
        env={"PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8", **environment},
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip

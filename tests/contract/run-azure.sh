#!/bin/sh
# run-azure.sh PROGRAM - run PROGRAM URL against an Azurite of its own, which is looked for
# in MASTFS_AZURITE and in PATH; without one the test is skipped (77).
set -eu
. "$(dirname "$0")/server.sh"

azurite=${MASTFS_AZURITE:-$(command -v azurite-blob || true)}
[ -x "$azurite" ] || exit 77
unset AZURE_STORAGE_ACCOUNT AZURE_STORAGE_KEY AZURE_STORAGE_SAS_TOKEN || true
port=$(free_port)
url=http://127.0.0.1:$port/devstoreaccount1
start "$azurite" --silent --blobHost 127.0.0.1 --blobPort "$port" --inMemoryPersistence \
	--disableProductStyleUrl --disableTelemetry
wait_for "$python" "$servers/azurectl.py" "$url" test
AZURE_STORAGE_CONNECTION_STRING=$("$python" -c "import sys
sys.path.insert(0, '$servers')
import azurectl
print(azurectl.connection_string('$url'))")
export AZURE_STORAGE_CONNECTION_STRING
export MASTFS_TEST_CAPS="write put_if finish_if del_if upload copy list_meta"
"$1" az://devstoreaccount1/test/some/prefix

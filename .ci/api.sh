#!/usr/bin/env bash
# The API against its own description, by schemathesis: no server error, no status that is not described, no answer that is
# not of its form. Usage: .ci/api.sh API_URL
set -euo pipefail
cd "$(dirname "$0")/.."

.fresco/ci-venv/bin/schemathesis run functions/api/openapi.json --url "$1" \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
  --phases examples,coverage,fuzzing --max-examples "${FRESCO_EXAMPLES:-25}" --generation-deterministic --no-color

#!/usr/bin/env bash
# The API against its own description, by schemathesis: no server error, no status that is not described, no answer that is
# not of its form. Usage: .ci/api.sh API_URL
set -euo pipefail
cd "$(dirname "$0")/.."

# The emulator looks whether a request is signed and not by whom.
signed="AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/execute-api/aws4_request, SignedHeaders=host, Signature=x"

.fresco/ci-venv/bin/schemathesis run functions/api/openapi.json --url "$1" -H "Authorization: $signed" \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
  --phases examples,coverage,fuzzing,stateful --max-examples "${FRESCO_EXAMPLES:-25}" --generation-deterministic --no-color

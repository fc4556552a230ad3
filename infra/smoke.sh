#!/usr/bin/env bash
# Is a deployment there, does it reach what it stands on, does it refuse strangers?
#
#   infra/smoke.sh https://api.example.com
#
# Reads only. 0, or 1 after the first answer that is not as it should be.
set -euo pipefail

base=${1:?usage: infra/smoke.sh URL}
base=${base%/}

expect() {
  local code=$1 path=$2 got
  # A certificate or an instance may be a minute late, so what does not answer is asked again.
  got=$(curl --silent --show-error --output /dev/null --write-out '%{http_code}' \
    --max-time 20 --retry 5 --retry-delay 3 --retry-connrefused "$base$path") || got="no answer"
  if [[ "$got" != "$code" ]]; then
    echo "$base$path: $got instead of $code" >&2
    exit 1
  fi
  echo "$got $path"
}

expect 200 /health
expect 200 /ready
expect 200 /openapi.json
expect 200 /docs
expect 401 /api/v1/tenants/smoke_test/quota
expect 401 /api/v1/scheduler/status
expect 404 /api/v1/nothing-is-here

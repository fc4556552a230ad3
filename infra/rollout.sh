#!/usr/bin/env bash
# Traffic between revisions of every function, for a deployment that shifts none by itself
# (shift_traffic = false). docs/deploy.md says when.
#
#   infra/rollout.sh pin         keep what serves now serving, by name, whatever is deployed next
#   infra/rollout.sh shift 10    10 % to the newest revision, the rest to the one that serves most
#   infra/rollout.sh shift 100   everything to the newest
#   infra/rollout.sh back        everything to the revision that serves most and is not the newest
#   infra/rollout.sh status      revisions and their shares
#
# PROJECT and REGION say where; FUNCTIONS names the functions, or they are asked for. Each command may
# be repeated. One function after the other: a step message of one version is read by the other.
set -euo pipefail

: "${PROJECT:?set PROJECT to the project ID}" "${REGION:?set REGION to the region of the functions}"
place=(--project="$PROJECT" --region="$REGION")

functions() {
  if [[ -n "${FUNCTIONS:-}" ]]; then
    tr ' ' '\n' <<<"$FUNCTIONS"
  else
    gcloud functions list --project="$PROJECT" --regions="$REGION" --format='value(name.basename())'
  fi
}

newest() {
  gcloud run services describe "$1" "${place[@]}" --format='value(status.latestReadyRevisionName)'
}

# "PERCENT REVISION" a line, most first. Traffic to LATEST is told with the revision that it means.
shares() {
  gcloud run services describe "$1" "${place[@]}" --format=json | python3 -c '
import json, sys
shares = {}
for part in json.load(sys.stdin)["status"].get("traffic", []):
    name = part.get("revisionName")
    if name and part.get("percent"):
        shares[name] = shares.get(name, 0) + part["percent"]
for name, percent in sorted(shares.items(), key=lambda item: (-item[1], item[0])):
    print(percent, name)
'
}

route() {
  local function=$1 revisions=$2
  echo "$function: $revisions"
  gcloud run services update-traffic "$function" "${place[@]}" --to-revisions="$revisions" --quiet >/dev/null
}

pin() {
  local serving
  serving=$(shares "$1" | awk '{ printf "%s%s=%s", (NR > 1 ? "," : ""), $2, $1 }')
  if [[ -n "$serving" ]]; then route "$1" "$serving"; fi
}

shift_to_newest() {
  local function=$1 percent=$2 latest other
  latest=$(newest "$function")
  other=$(shares "$function" | awk -v latest="$latest" '$2 != latest { print $2; exit }')
  if [[ -z "$other" || "$percent" == 100 ]]; then
    route "$function" "$latest=100"
  else
    route "$function" "$latest=$percent,$other=$((100 - percent))"
  fi
}

back() {
  local function=$1 latest other
  latest=$(newest "$function")
  other=$(shares "$function" | awk -v latest="$latest" '$2 != latest { print $2; exit }')
  if [[ -z "$other" ]]; then
    other=$(gcloud run revisions list --service="$function" "${place[@]}" \
      --sort-by='~metadata.creationTimestamp' --format='value(metadata.name)' --limit=2 | tail -n +2)
  fi
  if [[ -z "$other" ]]; then
    echo "$function: there is no earlier revision" >&2
    return 1
  fi
  route "$function" "$other=100"
}

command=${1:-}
case "$command" in
  pin | back | status) [[ $# == 1 ]] ;;
  shift) [[ $# == 2 && "$2" =~ ^[0-9]+$ && "$2" -ge 1 && "$2" -le 100 ]] ;;
  *) false ;;
esac || {
  echo "usage: infra/rollout.sh pin | shift PERCENT (1 to 100) | back | status" >&2
  exit 2
}

names=$(functions)
for function in $names; do
  case "$command" in
    pin) pin "$function" ;;
    shift) shift_to_newest "$function" "$2" ;;
    back) back "$function" ;;
    status) shares "$function" | sed "s/^/$function: /" ;;
  esac
done

#!/bin/sh
# The chart as plain manifests, with their namespace: `deploy/manifests.sh [helm's arguments] | kubectl apply --server-side -f -`.
# A release publishes what this prints, with its images in it, as kvs-ingest.yaml.
set -eu
chart="$(dirname "$0")/../charts/kvs-ingest"
namespace="${NAMESPACE:-kvs-ingest}"
# First the objects: what fails prints nothing that could be applied.
objects="$("${HELM:-helm}" template kvs-ingest "$chart" --namespace "$namespace" "$@")"
cat <<EOF
# kvs-ingest as plain manifests: kubectl apply --server-side -f kvs-ingest.yaml
apiVersion: v1
kind: Namespace
metadata:
  name: $namespace
  labels:
    pod-security.kubernetes.io/enforce: restricted
EOF
printf '%s\n' "$objects"

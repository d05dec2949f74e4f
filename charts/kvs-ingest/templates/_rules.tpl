{{/* The operator's rights where it looks for objects. A test compares them with deploy/rbac.yaml. */}}
{{- define "kvs-ingest.rules" -}}
# What it reconciles; patch: the finalizer.
- apiGroups: [kvs-ingest.dev]
  resources: [kvsingests]
  verbs: [get, list, watch, patch]
- apiGroups: [kvs-ingest.dev]
  resources: [kvsingests/status]
  verbs: [patch]
# To be named as an owner that blocks deletion.
- apiGroups: [kvs-ingest.dev]
  resources: [kvsingests/finalizers]
  verbs: [update]
# What it makes of it.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
# A suspended agent ends whatever else is refused of its Deployment.
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
# Why an agent is not available, and where its /status is: on demand, never watched.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
# list: why a pod gets no container, on demand.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch, list]
{{- end -}}

{{/* What an operator of the whole cluster reads beside: which namespace may ask for what. */}}
{{- define "kvs-ingest.clusterRules" -}}
- apiGroups: [kvs-ingest.dev]
  resources: [kvsingestpolicies]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
{{- end -}}

{{/* Everything has this name: 52 characters at most, which leaves room for the hashes of pods. */}}
{{- define "kvs-local.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* These can never change. */}}
{{- define "kvs-local.selectorLabels" -}}
app.kubernetes.io/name: kvs-local
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "kvs-local.labels" -}}
{{ include "kvs-local.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "kvs-local.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "kvs-local.secretName" -}}
{{- default (include "kvs-local.fullname" .) .Values.credentials.existingSecret -}}
{{- end -}}

{{/* The first and the last of the relays' ports, or nothing. */}}
{{- define "kvs-local.relayPorts" -}}
{{- if and .Values.turn.service.enabled (not .Values.turn.relayPorts) -}}
{{- fail "turn.relayPorts: a Service has ports of its own; name a few, like \"49160-49167\"" -}}
{{- end -}}
{{- with .Values.turn.relayPorts -}}
{{- $ends := splitList "-" . -}}
{{- $first := index $ends 0 | int -}}
{{- $last := index $ends 1 | int -}}
{{- if or (lt $first 1025) (gt $first $last) (gt $last 65535) -}}
{{- fail (printf "turn.relayPorts: %s is no range of ports from 1025 to 65535" .) -}}
{{- end -}}
{{- if and $.Values.turn.service.enabled (gt (sub $last $first) 99) -}}
{{- fail "turn.relayPorts: at most 100 with a Service, each is a port of it" -}}
{{- end -}}
{{- printf "%d-%d" $first $last -}}
{{- end -}}
{{- end -}}

{{/* Release name and chart name, once. */}}
{{- define "kvs-ingest.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 43 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 43 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 43 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Everything of the operator has this name: 52 characters at most, which leaves room for the hashes of its pods. */}}
{{- define "kvs-ingest.operator" -}}
{{- printf "%s-operator" (include "kvs-ingest.fullname" .) -}}
{{- end -}}

{{- define "kvs-ingest.leaseName" -}}
{{- default (include "kvs-ingest.operator" .) .Values.leaderElection.leaseName -}}
{{- end -}}

{{/* These can never change. */}}
{{- define "kvs-ingest.selectorLabels" -}}
app.kubernetes.io/name: kvs-ingest-operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "kvs-ingest.labels" -}}
{{- $labels := include "kvs-ingest.selectorLabels" . | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- $_ := set $labels "app.kubernetes.io/part-of" "kvs-ingest" -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- merge $labels .Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "kvs-ingest.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "kvs-ingest.operator" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* An image without tag and digest. */}}
{{- define "kvs-ingest.repository" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $root.Values.imageRegistry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- end -}}

{{/* The reference of an image: a list of the root and the image's values. Where these name neither tag nor digest it is the
     image of the release: by its version, and in a chart that a workflow has published by its digest as well. */}}
{{- define "kvs-ingest.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $tag := $image.tag -}}
{{- $digest := $image.digest -}}
{{- if not (or $tag $digest) -}}
{{- $tag = $root.Chart.AppVersion -}}
{{- $digest = index (default dict $root.Chart.Annotations) (printf "kvs-ingest.dev/digest.%s" $image.repository) -}}
{{- end -}}
{{- include "kvs-ingest.repository" . -}}
{{- with $tag }}:{{ . }}{{ end -}}
{{- with $digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* Not empty where the platform gives pods their uid, gid and fsGroup. */}}
{{- define "kvs-ingest.assignedIds" -}}
{{- if eq (toString .Values.assignedIds) "auto" -}}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" }}true{{ end -}}
{{- else if .Values.assignedIds }}true{{ end -}}
{{- end -}}

{{/* The variables of a proxy that are no secret. */}}
{{- define "kvs-ingest.proxy" -}}
{{- range $name, $url := pick .Values.proxy "http" "https" }}
{{- if contains "@" $url }}
{{- /* Not by the schema, whose message would repeat it. */}}
{{- fail (printf "proxy.%s holds a password, which everybody could read: it belongs into a Secret, proxy.secretName" $name) }}
{{- end }}
{{- end }}
{{- with .Values.proxy.https }}
HTTPS_PROXY: {{ . | quote }}
{{- end }}
{{- with .Values.proxy.http }}
HTTP_PROXY: {{ . | quote }}
{{- end }}
{{- with .Values.proxy.noProxy }}
NO_PROXY: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* What the operator's environment has of proxies and authorities. Its way to the API server has no proxy. */}}
{{- define "kvs-ingest.env" -}}
{{- $own := list }}
{{- range .Values.extraEnv }}{{ $own = append $own .name }}{{ end }}
{{- $proxy := include "kvs-ingest.proxy" . | fromYaml }}
{{- range $name := list "HTTPS_PROXY" "HTTP_PROXY" "NO_PROXY" }}
{{- if has $name $own }}
{{- else if hasKey $proxy $name }}
- name: {{ $name }}
  value: {{ get $proxy $name | quote }}
{{- else if $.Values.proxy.secretName }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $.Values.proxy.secretName }}
      key: {{ $name }}
      optional: true
{{- end }}
{{- end }}
{{- if and .Values.caBundle.configMapName (not (has "AWS_CA_BUNDLE" $own)) }}
- name: AWS_CA_BUNDLE
  value: /etc/kvs-ingest/ca/ca.crt
{{- end }}
{{- end -}}

{{/* The port of a URL. */}}
{{- define "kvs-ingest.portOf" -}}
{{- $host := (urlParse .).host -}}
{{- if regexMatch ":[0-9]+$" $host }}{{ regexFind "[0-9]+$" $host }}{{ else if hasPrefix "https:" . }}443{{ else }}80{{ end -}}
{{- end -}}

{{/* The namespaces in which the agents get a NetworkPolicy, as JSON. */}}
{{- define "kvs-ingest.agentPolicyNamespaces" -}}
{{- $namespaces := default .Values.watch.namespaces .Values.networkPolicy.agents.namespaces -}}
{{- if not $namespaces -}}
{{- fail "networkPolicy.agents.namespaces is empty: a NetworkPolicy is of one namespace, so name those with agents" -}}
{{- end -}}
{{- $namespaces | uniq | toJson -}}
{{- end -}}

{{/* DNS, where EKS Pod Identity gives credentials, and the proxies: what operator and agents both need. */}}
{{- define "kvs-ingest.commonEgress" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
- to:
    - ipBlock: {cidr: 169.254.170.23/32}
    - ipBlock: {cidr: "fd00:ec2::23/128"}
  ports:
    - {protocol: TCP, port: 80}
{{- range $url := list .Values.proxy.https .Values.proxy.http | compact | uniq }}
- ports:
    - {protocol: TCP, port: {{ include "kvs-ingest.portOf" $url }}}
{{- end }}
{{- end -}}

{{/* The instance's role, from its metadata service. */}}
{{- define "kvs-ingest.imdsEgress" -}}
- to:
    - ipBlock: {cidr: 169.254.169.254/32}
    - ipBlock: {cidr: "fd00:ec2::254/128"}
  ports:
    - {protocol: TCP, port: 80}
{{- end -}}

{{/* Everywhere but in these networks, as peers of a NetworkPolicy; nothing: everywhere. */}}
{{- define "kvs-ingest.everywhereBut" -}}
{{- if . }}
{{- $four := list }}{{ $six := list }}
{{- range . }}{{ if contains ":" . }}{{ $six = append $six . }}{{ else }}{{ $four = append $four . }}{{ end }}{{ end }}
- ipBlock: {{ dict "cidr" "0.0.0.0/0" "except" $four | toJson }}
- ipBlock: {{ dict "cidr" "::/0" "except" $six | toJson }}
{{- end }}
{{- end -}}

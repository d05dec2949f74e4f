{{/* What the operator is told: a list. A test has the operator itself read it. */}}
{{- define "kvs-ingest.args" -}}
- {{ printf "--agent-image=%s" (include "kvs-ingest.image" (list . .Values.agent.image)) | quote }}
- {{ printf "--agent-image-pull-policy=%s" .Values.agent.image.pullPolicy | quote }}
{{- range .Values.agent.imagePullSecrets }}
- {{ printf "--agent-image-pull-secrets=%s" .name | quote }}
{{- end }}
{{- range $name, $value := .Values.agent.env }}
- {{ printf "--agent-env=%s=%v" $name $value | quote }}
{{- end }}
{{- with .Values.agent.seccompProfile }}
- {{ printf "--agent-seccomp-profile=%s" . | quote }}
{{- end }}
{{- range $name, $value := include "kvs-ingest.proxy" . | fromYaml }}
{{- if hasKey $.Values.agent.env $name }}
{{- fail (printf "agent.env.%s and proxy are both set: one of them must go" $name) }}
{{- end }}
- {{ printf "--agent-env=%s=%v" $name $value | quote }}
{{- end }}
{{- with .Values.proxy.secretName }}
- {{ printf "--agent-proxy-secret=%s" . | quote }}
{{- end }}
{{- with .Values.caBundle.configMapName }}
- {{ printf "--agent-ca-bundle=%s/%s" . $.Values.caBundle.key | quote }}
{{- end }}
- {{ printf "--agent-listen=%s" .Values.listenAddress | quote }}
{{- if include "kvs-ingest.assignedIds" . }}
- --agent-assigned-ids
{{- end }}
- {{ printf "--cluster=%s" .Values.clusterName | quote }}
{{- with .Values.watch.namespaces }}
- {{ printf "--namespaces=%s" (uniq . | join ",") | quote }}
{{- end }}
{{- with .Values.watch.selector }}
- {{ printf "--selector=%s" . | quote }}
{{- end }}
{{- range .Values.tenancy.names }}
- {{ printf "--allowed-names=%s" . | quote }}
{{- end }}
{{- range .Values.tenancy.images }}
- {{ printf "--allowed-images=%s" . | quote }}
{{- end }}
{{- range .Values.tenancy.externalIds }}
- {{ printf "--allowed-external-ids=%s" . | quote }}
{{- end }}
- {{ printf "--listen=%s:8080" .Values.listenAddress | quote }}
- {{ printf "--concurrency=%d" (int .Values.concurrency) | quote }}
- {{ printf "--rollouts-per-minute=%v" .Values.rolloutsPerMinute | quote }}
- {{ printf "--aws-resync-hours=%v" .Values.aws.resyncHours | quote }}
{{- with .Values.aws.regions }}
- {{ printf "--regions=%s" (uniq . | join ",") | quote }}
{{- end }}
- {{ printf "--aws-quota-share=%v" .Values.aws.quotaShare | quote }}
- {{ printf "--lease-name=%s" (include "kvs-ingest.leaseName" .) | quote }}
- {{ printf "--log-format=%s" .Values.log.format | quote }}
- {{ printf "--log-level=%s" .Values.log.level | quote }}
{{- with .Values.tracing.otlpEndpoint }}
- {{ printf "--otlp-endpoint=%s" . | quote }}
{{- end }}
{{- end -}}

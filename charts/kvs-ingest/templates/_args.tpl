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
- {{ printf "--cluster=%s" .Values.clusterName | quote }}
{{- with .Values.watch.namespaces }}
- {{ printf "--namespaces=%s" (uniq . | join ",") | quote }}
{{- end }}
{{- with .Values.watch.selector }}
- {{ printf "--selector=%s" . | quote }}
{{- end }}
- {{ printf "--listen=%s:8080" .Values.listenAddress | quote }}
- {{ printf "--concurrency=%d" (int .Values.concurrency) | quote }}
- {{ printf "--rollouts-per-minute=%v" .Values.rolloutsPerMinute | quote }}
- {{ printf "--aws-resync-hours=%v" .Values.aws.resyncHours | quote }}
- {{ printf "--aws-quota-share=%v" .Values.aws.quotaShare | quote }}
- {{ printf "--lease-name=%s" (default (include "kvs-ingest.operator" .) .Values.leaderElection.leaseName) | quote }}
- {{ printf "--log-format=%s" .Values.log.format | quote }}
- {{ printf "--log-level=%s" .Values.log.level | quote }}
{{- with .Values.tracing.otlpEndpoint }}
- {{ printf "--otlp-endpoint=%s" . | quote }}
{{- end }}
{{- end -}}

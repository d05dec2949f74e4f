{{/*
Tenancy in CEL. A rule has a name, the field that it is about, the values that an object has there, and when one of them is
permitted; OBJ is the object, or what it was before. operator/src/tenancy has the same rules, and a test compares the two.
Null is as good as nothing in an object, hence the filters.
*/}}
{{- define "kvs-ingest.tenancy.policyRules" -}}
- {name: regions, field: spec.region, values: "[OBJ.spec.region]"}
- name: channelAccounts
  list: accounts
  field: spec.channel
  values: "[OBJ.spec.channel.?arn.orValue(null)].filter(v, v != null).map(v, v.split(':')[4])"
- name: streamAccounts
  list: accounts
  field: spec.stream
  values: "[OBJ.spec.?stream.orValue(null)].filter(s, s != null).map(s, s.?arn.orValue(null)).filter(v, v != null).map(v, v.split(':')[4])"
- {name: channels, field: spec.channel, values: "[OBJ.spec.channel.?arn.orValue(null)].map(v, v == null ? OBJ.spec.channel.?name.orValue('') : v.split('/')[1])"}
- {name: streams, field: spec.stream, values: "[OBJ.spec.?stream.orValue(null)].filter(s, s != null).map(s, s.?arn.orValue(null) == null ? s.?name.orValue('') : s.arn.split('/')[1])"}
- {name: modes, field: spec.mode, values: "[OBJ.spec.?mode.orValue('Agent')]"}
- {name: kmsKeys, field: spec.stream.kmsKeyId, values: "[OBJ.spec.?stream.orValue(null)].filter(s, s != null).map(s, s.?kmsKeyId.orValue(null)).filter(v, v != null)"}
- {name: streamTags, field: spec.stream.tags, values: "(OBJ.spec.?stream.orValue(null) == null ? {} : OBJ.spec.stream.?tags.orValue({})).map(k, k)"}
- {name: roleArns, field: spec.roleArn, values: "[OBJ.spec.?roleArn.orValue(null)].filter(v, v != null)"}
# Where AWS records there is no pod that could have one.
- {name: serviceAccounts, field: spec.serviceAccountName, values: "OBJ.spec.?mode.orValue('Agent') == 'ManagedStorage' ? [] : [OBJ.spec.?serviceAccountName.orValue(null)].map(v, v == null ? 'default' : v)"}
- {name: credentialsSecrets, field: spec.credentialsSecretRef.name, values: "[OBJ.spec.?credentialsSecretRef.orValue(null)].filter(v, v != null).map(v, v.name)"}
- {name: caBundles, field: spec.caBundleRef.name, values: "[OBJ.spec.?caBundleRef.orValue(null)].filter(v, v != null).map(v, v.name)"}
# Scheme, host and port: a path is no place for a pattern, for its text could pass for a host. Of a URL in a Secret nothing is known.
- name: outputs
  field: spec.outputs.rtmp.url
  values: "OBJ.spec.?outputs.orValue([]).map(o, o.?rtmp.orValue(null)).filter(r, r != null).map(r, r.?url.orValue(null)).map(u, u == null ? '' : [u.split('/')[2].lowerAscii()].map(a, u.split('/')[0] + '//' + a + (a.matches(':[0-9]+$') ? '' : u.startsWith('rtmps:') ? ':443' : ':1935'))[0])"
- {name: outputUrlSecrets, list: outputSecrets, field: spec.outputs.rtmp.urlSecretRef.name, values: "OBJ.spec.?outputs.orValue([]).map(o, o.?rtmp.orValue(null)).filter(r, r != null).map(r, r.?urlSecretRef.orValue(null)).filter(s, s != null).map(s, s.name)"}
- {name: outputKeySecrets, list: outputSecrets, field: spec.outputs.rtmp.streamKeySecretRef.name, values: "OBJ.spec.?outputs.orValue([]).map(o, o.?rtmp.orValue(null)).filter(r, r != null).map(r, r.?streamKeySecretRef.orValue(null)).filter(s, s != null).map(s, s.name)"}
# A policy that is older than outputs are, and says which Secrets may be named, means these, too.
- {name: outputUrlCredentials, list: credentialsSecrets, field: spec.outputs.rtmp.urlSecretRef.name, values: "has(params.spec.outputSecrets) ? [] : OBJ.spec.?outputs.orValue([]).map(o, o.?rtmp.orValue(null)).filter(r, r != null).map(r, r.?urlSecretRef.orValue(null)).filter(s, s != null).map(s, s.name)"}
- {name: outputKeyCredentials, list: credentialsSecrets, field: spec.outputs.rtmp.streamKeySecretRef.name, values: "has(params.spec.outputSecrets) ? [] : OBJ.spec.?outputs.orValue([]).map(o, o.?rtmp.orValue(null)).filter(r, r != null).map(r, r.?streamKeySecretRef.orValue(null)).filter(s, s != null).map(s, s.name)"}
- {name: outputCaBundles, list: caBundles, field: spec.outputs.rtmp.caBundleRef.name, values: "OBJ.spec.?outputs.orValue([]).map(o, o.?rtmp.orValue(null)).filter(r, r != null).map(r, r.?caBundleRef.orValue(null)).filter(s, s != null).map(s, s.name)"}
- {name: images, field: spec.image, values: "[OBJ.spec.?image.orValue(null)].filter(v, v != null)"}
- {name: imagePullSecrets, field: spec.imagePullSecrets, values: "OBJ.spec.?imagePullSecrets.orValue([]).map(v, v.?name.orValue(''))"}
- {name: priorityClasses, field: spec.pod.priorityClassName, values: "[OBJ.spec.?pod.?priorityClassName.orValue(null)].filter(v, v != null)"}
- {name: tolerations, field: spec.pod.tolerations, values: "OBJ.spec.?pod.?tolerations.orValue([]).map(v, v.?key.orValue(''))"}
- {name: podLabels, field: spec.pod.labels, values: "OBJ.spec.?pod.?labels.orValue({}).map(k, k)"}
- {name: podAnnotations, field: spec.pod.annotations, values: "OBJ.spec.?pod.?annotations.orValue({}).map(k, k)"}
- {name: environment, field: spec.pod.env, values: "OBJ.spec.?pod.?env.orValue([]).map(v, v.name)"}
- name: create
  field: createIfMissing
  values: "(OBJ.spec.channel.?createIfMissing.orValue(false) ? ['spec.channel'] : []) + [OBJ.spec.?stream.orValue(null)].filter(s, s != null).filter(s, s.?createIfMissing.orValue(false)).map(s, 'spec.stream')"
  permitted: params.spec.create
  message: "v + '.createIfMissing: creating is not permitted by KvsIngestPolicy ' + params.metadata.name"
- name: adopt
  field: adopt
  values: "(OBJ.spec.channel.?adopt.orValue(false) ? ['spec.channel'] : []) + [OBJ.spec.?stream.orValue(null)].filter(s, s != null).filter(s, s.?adopt.orValue(false)).map(s, 'spec.stream')"
  permitted: params.spec.adopt
  message: "v + '.adopt: adopting is not permitted by KvsIngestPolicy ' + params.metadata.name"
- name: maxRetentionHours
  field: spec.stream.retentionHours
  values: "[OBJ.spec.?stream.orValue(null)].filter(s, s != null).map(s, s.?retentionHours.orValue(null)).filter(v, v != null)"
  permitted: v <= params.spec.maxRetentionHours
  message: "'spec.stream.retentionHours: ' + string(v) + ' is not permitted, at most ' + string(params.spec.maxRetentionHours) + ' is, by KvsIngestPolicy ' + params.metadata.name"
- name: nodeSelection
  field: spec.pod
  values: "(size(OBJ.spec.?pod.?nodeSelector.orValue({})) > 0 ? ['spec.pod.nodeSelector'] : []) + (OBJ.spec.?pod.?affinity.orValue(null) != null ? ['spec.pod.affinity'] : [])"
  permitted: params.spec.nodeSelection
  unchanged: "(v == 'spec.pod.affinity' ? object.spec.?pod.?affinity == oldObject.spec.?pod.?affinity : object.spec.?pod.?nodeSelector == oldObject.spec.?pod.?nodeSelector)"
  message: "v + ': to choose nodes is not permitted by KvsIngestPolicy ' + params.metadata.name"
{{- end -}}

{{/* The same of a release, with its values in it. */}}
{{- define "kvs-ingest.tenancy.releaseRules" -}}
{{- $repository := include "kvs-ingest.repository" (list . .Values.agent.image) -}}
{{- $own := printf "'kvs-ingest/%s/' + variables.place" (.Values.clusterName | replace "=" "=3d" | replace " " "=20") -}}
{{- $account := include "kvs-ingest.serviceAccountName" . -}}
{{- with .Values.tenancy.names }}
{{- range $kind := list "channel" "stream" }}
- name: {{ $kind }}s
  field: spec.{{ $kind }}
  values: {{ printf "[OBJ.spec.?%s.orValue(null)].filter(s, s != null).map(s, s.?arn.orValue(null) == null ? s.?name.orValue('') : s.arn.split('/')[1])" $kind | toJson }}
  permitted: {{ include "kvs-ingest.tenancy.inList" (toJson $.Values.tenancy.names) | toJson }}
  message: {{ printf "'spec.%s: \"' + v + '\" is not permitted: this release permits %s (tenancy.names)'" $kind (join ", " $.Values.tenancy.names) | toJson }}
{{- end }}
{{- end }}
- name: images
  field: spec.image
  values: "[OBJ.spec.?image.orValue(null)].filter(v, v != null)"
  permitted: {{ include "kvs-ingest.tenancy.orInList" (list (printf "v.matches(r'^%s([:@][^/]*)?$')" ($repository | regexQuoteMeta)) .Values.tenancy.images) | toJson }}
  message: {{ printf "'spec.image: \"' + v + '\" is not permitted: this release permits %s, with any tag or digest%s (tenancy.images)'" $repository (concat (list "") .Values.tenancy.images | join ", ") | toJson }}
- name: externalIds
  field: spec.externalId
  values: "[OBJ.spec.?externalId.orValue(null)].filter(v, v != null)"
  permitted: {{ include "kvs-ingest.tenancy.orInList" (list (printf "v == %s" $own) .Values.tenancy.externalIds) | toJson }}
  message: {{ printf "'spec.externalId: \"' + v + '\" is not permitted: that of this namespace is \"' + %s + '\"; leave the field out, and let the trust policy of the role ask for that one'" $own | toJson }}
- name: serviceAccounts
  field: spec.serviceAccountName
  values: {{ printf "variables.place == '%s' ? [OBJ.spec.?serviceAccountName.orValue(null)].map(v, v == null ? 'default' : v) : []" .Release.Namespace | toJson }}
  permitted: {{ printf "v != '%s'" $account | toJson }}
  message: "'spec.serviceAccountName: \"' + v + '\" is the account of the operator: name another'"
{{- end -}}

{{/* Is `v` in a list of patterns? It is a CEL expression. Patterns have no other character that regular expressions know. */}}
{{- define "kvs-ingest.tenancy.inList" -}}
{{- . }}.exists(p, v.matches({{ include "kvs-ingest.tenancy.regex" "p" }}))
{{- end -}}

{{- define "kvs-ingest.tenancy.orInList" -}}
{{- index . 0 }}{{ with index . 1 }} || {{ include "kvs-ingest.tenancy.inList" (toJson .) }}{{ end }}
{{- end -}}

{{- define "kvs-ingest.tenancy.regex" -}}
'^' + {{ . }}.replace('${namespace}', variables.place).replace('.', r'\.').replace('+', r'\+').replace('*', '.*') + '$'
{{- end -}}

{{/* Does the policy have a say in this namespace? */}}
{{- define "kvs-ingest.tenancy.applies" -}}
{{- $selector := "params.spec.namespaceSelector" -}}
(!has(params.spec.namespaces) || params.spec.namespaces.exists(p, variables.place.matches({{ include "kvs-ingest.tenancy.regex" "p" }})))
&& (!has({{ $selector }})
|| ((!has({{ $selector }}.matchLabels) || {{ $selector }}.matchLabels.all(k, k in variables.labels && variables.labels[k] == {{ $selector }}.matchLabels[k]))
&& (!has({{ $selector }}.matchExpressions) || {{ $selector }}.matchExpressions.all(e,
e.operator == 'In' ? e.key in variables.labels && variables.labels[e.key] in e.values
: e.operator == 'NotIn' ? !(e.key in variables.labels && variables.labels[e.key] in e.values)
: e.operator == 'Exists' ? e.key in variables.labels
: !(e.key in variables.labels)))))
{{- end -}}

{{/*
Variables and validations of these rules: a list of the rules and of what has to hold for a rule to apply, with NAME for that of
its list; empty, it always applies. What was there before stays: who suspends an object, or mends one field, need not mend all. The operator goes by
the whole object.
*/}}
{{- define "kvs-ingest.tenancy.variables" -}}
{{- $when := index . 1 -}}
{{- range index . 0 }}
{{- $list := default .name .list }}
{{- $permitted := default (include "kvs-ingest.tenancy.inList" (printf "params.spec.%s" $list)) .permitted }}
{{- $unchanged := default (printf "v in (%s)" (.values | replace "OBJ" "oldObject")) .unchanged }}
- name: {{ .name }}
  {{- $forbidden := printf "(%s).filter(v, !(%s) && !(request.operation == 'UPDATE' && %s))" (.values | replace "OBJ" "object") $permitted $unchanged }}
  expression: {{ empty $when | ternary $forbidden (printf "%s ? %s : []" ($when | replace "NAME" $list) $forbidden) | toJson }}
{{- end }}
{{- end -}}

{{- define "kvs-ingest.tenancy.validations" -}}
{{- range . }}
{{- $list := default .name .list }}
{{- $message := default (printf "'%s: \"' + v + '\" is not permitted: %s of KvsIngestPolicy ' + params.metadata.name + ' permits ' + (size(params.spec.%s) == 0 ? 'none' : params.spec.%s.join(', '))" .field $list $list $list) .message }}
- expression: size(variables.{{ .name }}) == 0
  message: {{ printf "%s is not permitted (tenancy)" .field }}
  messageExpression: {{ printf "variables.%s.map(v, %s)[0]" .name $message | toJson }}
  reason: Forbidden
{{- end }}
{{- end -}}

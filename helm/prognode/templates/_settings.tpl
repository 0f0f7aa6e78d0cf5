{{/* The node's settings as variables of the environment, and those of them that are secret. */}}

{{/* one value: text as it is, everything else as JSON */}}
{{- define "prognode.value" -}}
{{- if kindIs "string" . -}}{{ . }}{{- else -}}{{ toJson . }}{{- end -}}
{{- end -}}

{{- define "prognode.settings" -}}
{{- $found := dict -}}
{{- range $key, $value := .Values.config -}}
{{- if kindIs "map" $value -}}
{{- range $inner, $setting := $value -}}
{{- if not (kindIs "invalid" $setting) -}}
{{- $_ := set $found (printf "PROGNODE_%s__%s" (upper $key) (upper $inner)) (include "prognode.value" $setting) -}}
{{- end -}}
{{- end -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $_ := set $found (printf "PROGNODE_%s" (upper $key)) (include "prognode.value" $value) -}}
{{- end -}}
{{- end -}}
{{- toYaml (merge (include "prognode.chartSettings" . | fromYaml) $found) -}}
{{- end -}}

{{/* what the chart itself knows */}}
{{- define "prognode.chartSettings" -}}
{{- $name := include "prognode.fullname" . -}}
PROGNODE_PROBES__HOST: 0.0.0.0
PROGNODE_PROBES__PORT: {{ .Values.probes.port | quote }}
PROGNODE_CONSOLE__HOST: 0.0.0.0
{{- if .Values.quickstart.enabled }}
PROGNODE_KAFKA__BOOTSTRAP: {{ $name }}-kafka:9092
{{- end }}
{{- if and .Values.quickstart.enabled (not .Values.receiver.spool.enabled) }}
PROGNODE_S3__BUCKET: prognode
PROGNODE_S3__ENDPOINT: http://{{ $name }}-s3:7070
{{- end }}
{{- if .Values.receiver.spool.enabled }}
PROGNODE_DATA: /var/lib/prognode/spool
{{- end }}
{{- if .Values.secrets.kafka.caSecret }}
PROGNODE_KAFKA__CA_FILE: /etc/prognode/kafka/{{ .Values.secrets.kafka.caKey }}
{{- end }}
{{- if .Values.strimzi.enabled }}
PROGNODE_KAFKA__CREATE_TOPICS: "false"
{{- end }}
{{- if .Values.triton.enabled }}
PROGNODE_TRITON__URL: {{ $name }}-triton:8001
{{- end }}
{{- if .Values.tracing.endpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ .Values.tracing.endpoint }}
{{- end }}
{{- end -}}

{{/* (dict "root" $ "component" NAME): variables from Secrets, those only that the component needs */}}
{{- define "prognode.secretEnv" -}}
{{- $root := .root -}}
{{- $needs := get (include "prognode.edges" $root | fromYaml) .component -}}
{{- $own := printf "%s-quickstart" (include "prognode.fullname" $root) -}}
{{- with $root.Values.secrets -}}
{{- if has "postgresql" $needs }}
- {{ include "prognode.fromSecret" (list "PROGNODE_INDEX_URL" (ternary $own .index.existingSecret $root.Values.quickstart.enabled) .index.key) }}
{{- end }}
{{- if has "s3" $needs }}
{{- if and $root.Values.quickstart.enabled (not $root.Values.receiver.spool.enabled) }}
- {{ include "prognode.fromSecret" (list "PROGNODE_S3__ACCESS_KEY_ID" $own "access_key_id") }}
- {{ include "prognode.fromSecret" (list "PROGNODE_S3__SECRET_ACCESS_KEY" $own "secret_access_key") }}
{{- else if .s3.existingSecret }}
- {{ include "prognode.fromSecret" (list "PROGNODE_S3__ACCESS_KEY_ID" .s3.existingSecret .s3.accessKeyIdKey) }}
- {{ include "prognode.fromSecret" (list "PROGNODE_S3__SECRET_ACCESS_KEY" .s3.existingSecret .s3.secretAccessKeyKey) }}
{{- end }}
{{- end }}
{{- if and (has "kafka" $needs) .kafka.existingSecret }}
- {{ include "prognode.fromSecret" (list "PROGNODE_KAFKA__USERNAME" .kafka.existingSecret .kafka.usernameKey) }}
- {{ include "prognode.fromSecret" (list "PROGNODE_KAFKA__PASSWORD" .kafka.existingSecret .kafka.passwordKey) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* (list VARIABLE SECRET KEY) */}}
{{- define "prognode.fromSecret" -}}
{name: {{ index . 0 }}, valueFrom: {secretKeyRef: {name: {{ index . 1 }}, key: {{ index . 2 }}}}}
{{- end -}}

{{/* what values must say together; a sentence for each */}}
{{- define "prognode.requireSense" -}}
{{- $v := .Values -}}
{{- if not $v.quickstart.enabled -}}
{{- if not $v.config.kafka.bootstrap -}}{{ fail "config.kafka.bootstrap: name the brokers, or try the node out with values-quickstart.yaml" }}{{- end -}}
{{- if not $v.secrets.index.existingSecret -}}{{ fail "secrets.index.existingSecret: name the Secret that holds PostgreSQL's address" }}{{- end -}}
{{- if not (or $v.config.s3.bucket $v.receiver.spool.enabled) -}}{{ fail "config.s3.bucket: name the bucket for images and reports" }}{{- end -}}
{{- end -}}
{{- if and $v.receiver.spool.enabled (gt (int $v.receiver.replicas) 1) -}}{{ fail "receiver.spool: the folder is one receiver's; set receiver.replicas to 1, or keep objects in S3" }}{{- end -}}
{{- if and $v.receiver.spool.enabled $v.config.s3.bucket -}}{{ fail "receiver.spool: objects are either in S3 or in the folder; take config.s3.bucket out" }}{{- end -}}
{{- if ne 1 (len (compact (list (ternary "yes" "" $v.model.demonstration) $v.model.existingClaim $v.model.recipe.configMap $v.model.recipe.secret))) -}}
{{ fail "model: give one of demonstration, existingClaim, recipe.configMap and recipe.secret" }}
{{- end -}}
{{- if and $v.triton.enabled (not $v.triton.repository) (not (or $v.model.demonstration $v.model.existingClaim)) -}}
{{ fail "triton.repository: a recipe without a claim brings no network; name the model repository, or give model.existingClaim" }}
{{- end -}}
{{- if and (not $v.triton.enabled) (not $v.config.triton.url) -}}{{ fail "config.triton.url: name the Triton server, or set triton.enabled" }}{{- end -}}
{{- if and $v.strimzi.enabled (not (and $v.strimzi.cluster $v.strimzi.namespace)) -}}{{ fail "strimzi: name cluster and namespace" }}{{- end -}}
{{- if and $v.clinical.secret $v.clinical.existingClaim -}}{{ fail "clinical: give one of secret and existingClaim" }}{{- end -}}
{{- if $v.networkPolicy.enabled -}}
{{- if not $v.networkPolicy.pacs -}}{{ fail "networkPolicy.pacs: name who may send, for example [{ipBlock: {cidr: 10.1.2.3/32}}]" }}{{- end -}}
{{- if not $v.networkPolicy.dns -}}{{ fail "networkPolicy.dns: name who answers to names" }}{{- end -}}
{{- range $server := include "prognode.outside" . | fromYamlArray -}}
{{- if not (get $v.networkPolicy $server).peers -}}{{ fail (printf "networkPolicy.%s.peers: name where it is, for example [{ipBlock: {cidr: 10.1.2.3/32}}]" $server) }}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

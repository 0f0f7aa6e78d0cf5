{{/* Who needs whom. From here come the network's edges, both ends of each, and which Secrets a component sees. */}}
{{- define "prognode.edges" -}}
receiver: [postgresql, kafka, s3, pacs, otlp]
preprocess: [postgresql, kafka, s3, otlp]
scoring: [postgresql, kafka, s3, triton, otlp]
dispatcher: [postgresql, kafka, s3, pacs, otlp]
console-api: [postgresql, kafka, otlp]
migration: [postgresql]
triton: [{{ if .Values.triton.repository }}repository{{ end }}]
test: [receiver, console-api]
{{- end -}}

{{/* the ports of what is in the release */}}
{{- define "prognode.ports" -}}
receiver: {{ .Values.config.receiver.port | default 11112 }}
console-api: {{ .Values.config.console.port | default 8080 }}
triton: 8001
kafka: 9092
postgresql: 5432
s3: 7070
{{- end -}}

{{/* servers that are not in the release, and used */}}
{{- define "prognode.outside" -}}
{{- $folder := .Values.receiver.spool.enabled -}}
{{- $found := list -}}
{{- if not .Values.quickstart.enabled -}}
{{- $found = list "postgresql" "kafka" -}}
{{- if not $folder -}}{{- $found = append $found "s3" -}}{{- end -}}
{{- end -}}
{{- if and .Values.triton.repository (not (has "s3" $found)) -}}{{- $found = append $found "s3" -}}{{- end -}}
{{- if not .Values.triton.enabled -}}{{- $found = append $found "triton" -}}{{- end -}}
{{- if .Values.tracing.endpoint -}}{{- $found = append $found "otlp" -}}{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{/* servers that are in the release */}}
{{- define "prognode.inside" -}}
{{- $found := list "receiver" "console-api" -}}
{{- if .Values.triton.enabled -}}{{- $found = append $found "triton" -}}{{- end -}}
{{- if .Values.quickstart.enabled -}}
{{- $found = concat $found (list "kafka" "postgresql") -}}
{{- if not .Values.receiver.spool.enabled -}}{{- $found = append $found "s3" -}}{{- end -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{/* (dict "root" $ "component" NAME "from" PEERS-BY-PORT): the policy of one component; "from" maps a port to its peers */}}
{{- define "prognode.networkPolicy" -}}
{{- $root := .root -}}
{{- $policy := $root.Values.networkPolicy -}}
{{- if $policy.enabled }}
{{- $edges := include "prognode.edges" $root | fromYaml }}
{{- $ports := include "prognode.ports" $root | fromYaml }}
{{- $inside := include "prognode.inside" $root | fromYamlArray }}
{{- $outside := include "prognode.outside" $root | fromYamlArray }}
{{- $clients := list }}
{{- range $client, $needs := $edges }}
{{- if has $.component $needs }}{{- $clients = append $clients $client }}{{- end }}
{{- end }}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "prognode.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "prognode.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- if or $clients .from }}
  ingress:
    {{- with $clients }}
    - from:
        {{- range . }}
        - podSelector:
            matchLabels:
              {{- include "prognode.selector" (dict "root" $root "component" .) | nindent 14 }}
        {{- end }}
      ports: [{protocol: TCP, port: {{ get $ports $.component }}}]
    {{- end }}
    {{- range $port, $peers := .from }}
    {{- with $peers }}
    - from:
        {{- toYaml . | nindent 8 }}
      ports: [{protocol: TCP, port: {{ $port }}}]
    {{- end }}
    {{- end }}
  {{- end }}
  {{- $needs := get $edges .component }}
  {{- if $needs }}
  egress:
    - to:
        {{- toYaml $policy.dns | nindent 8 }}
      ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
    {{- range $need := $needs }}
    {{- $server := ternary "s3" $need (eq $need "repository") }}
    {{- if and (has $server $inside) (ne $need "repository") }}
    - to:
        - podSelector:
            matchLabels:
              {{- include "prognode.selector" (dict "root" $root "component" $server) | nindent 14 }}
      ports: [{protocol: TCP, port: {{ get $ports $server }}}]
    {{- else if has $server $outside }}
    - to:
        {{- toYaml (get $policy $server).peers | nindent 8 }}
      ports:
        {{- range (get $policy $server).ports }}
        - {protocol: TCP, port: {{ . }}}
        {{- end }}
    {{- else if eq $server "pacs" }}
    {{- $peersOfNode := list }}
    {{- range $root.Values.config.pacs }}
    {{- if or (eq $.component "dispatcher") .fetch }}{{- $peersOfNode = append $peersOfNode (int .port) }}{{- end }}
    {{- end }}
    {{- with $peersOfNode }}
    - to:
        {{- toYaml $policy.pacs | nindent 8 }}
      ports:
        {{- range uniq . }}
        - {protocol: TCP, port: {{ . }}}
        {{- end }}
    {{- end }}
    {{- end }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

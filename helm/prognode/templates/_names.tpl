{{/* Names and labels. No chart version in selectors: they cannot be changed later. */}}

{{- define "prognode.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* (dict "root" $ "component" NAME) -> what selects the component's pods */}}
{{- define "prognode.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* what every resource of the component carries */}}
{{- define "prognode.labels" -}}
{{ include "prognode.selector" . }}
app.kubernetes.io/part-of: prognode
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "prognode.metadata" -}}
name: {{ include "prognode.fullname" .root }}-{{ .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "prognode.labels" . | nindent 2 }}
{{- end -}}

{{/* the image of a service */}}
{{- define "prognode.image" -}}
{{ .root.Values.image.registry }}/prognode-{{ .component }}:{{ default .root.Chart.AppVersion .root.Values.image.tag }}
{{- end -}}

{{- define "prognode.serviceAccount" -}}
{{ include "prognode.fullname" . }}
{{- end -}}

{{/* Where recipe, network and covariates come from. */}}

{{/* the volume with recipe.json */}}
{{- define "prognode.recipeVolume" -}}
name: model
{{- with .Values.model }}
{{- if .demonstration }}
emptyDir: {}
{{- else if .existingClaim }}
persistentVolumeClaim: {claimName: {{ .existingClaim }}, readOnly: true}
{{- else if .recipe.configMap }}
configMap: {name: {{ .recipe.configMap }}}
{{- else }}
secret: {secretName: {{ .recipe.secret }}}
{{- end }}
{{- end }}
{{- end -}}

{{/* (dict "root" $ "name" NAME "command" LIST "mounts" LIST): a step before the first container, in the image of scoring */}}
{{- define "prognode.modelStep" -}}
name: {{ .name }}
image: {{ include "prognode.image" (dict "root" .root "component" "scoring") }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
command: {{ toJson .command }}
securityContext:
  {{- include "prognode.containerSecurity" . | nindent 2 }}
resources:
  {{- toYaml .root.Values.scoring.resources | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- toYaml .mounts | nindent 2 }}
{{- end -}}

{{- define "prognode.scoringExtra" -}}
env:
  - {name: PROGNODE_RECIPE, value: /model/recipe.json}
  {{- if or .Values.clinical.secret .Values.clinical.existingClaim }}
  - {name: PROGNODE_CLINICAL_CSV, value: /etc/prognode/clinical/clinical.csv}
  {{- end }}
volumeMounts:
  - {name: model, mountPath: /model, readOnly: true}
  {{- if or .Values.clinical.secret .Values.clinical.existingClaim }}
  - {name: clinical, mountPath: /etc/prognode/clinical, readOnly: true}
  {{- end }}
volumes:
  - {{- include "prognode.recipeVolume" . | nindent 4 }}
  {{- with .Values.clinical }}
  {{- if .secret }}
  - name: clinical
    secret: {secretName: {{ .secret }}}
  {{- else if .existingClaim }}
  - name: clinical
    persistentVolumeClaim: {claimName: {{ .existingClaim }}, readOnly: true}
  {{- end }}
  {{- end }}
{{- if .Values.model.demonstration }}
initContainers:
  - {{- include "prognode.modelStep" (dict "root" . "name" "recipe"
      "command" (list "prognode" "recipe" "demonstration" "--out" "/model/recipe.json")
      "mounts" (list (dict "name" "model" "mountPath" "/model"))) | nindent 4 }}
{{- end }}
{{- end -}}

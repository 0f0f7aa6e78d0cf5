{{/* One server of the quickstart: (dict "root" $ "component" NAME "values" VALUES "user" UID "ports" PORTS "pod" POD) where POD has
the container's own lines (command, env, probes), its mounts and volumes. */}}
{{- define "prognode.server" -}}
{{- $root := .root -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "prognode.metadata" . | nindent 2 }}
spec:
  replicas: 1
  serviceName: {{ include "prognode.fullname" $root }}-{{ .component }}
  # what the quickstart holds goes with it
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Retain}
  selector:
    matchLabels:
      {{- include "prognode.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "prognode.selector" . | nindent 8 }}
        app.kubernetes.io/part-of: prognode
    spec:
      {{- include "prognode.podBasics" $root | nindent 6 }}
      terminationGracePeriodSeconds: 60
      securityContext:
        {{- include "prognode.podSecurity" . | nindent 8 }}
      {{- with .pod.initContainers }}
      initContainers:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ .values.image }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          securityContext:
            {{- $security := include "prognode.containerSecurity" . | fromYaml }}
            {{- range $key, $value := .pod.security }}{{- $_ := set $security $key $value }}{{- end }}
            {{- toYaml $security | nindent 12 }}
          {{- toYaml .pod.container | nindent 10 }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- toYaml .pod.mounts | nindent 12 }}
      volumes:
        - name: tmp
          emptyDir: {}
        {{- with .pod.volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumeClaimTemplates:
    - metadata:
        name: data
      spec:
        accessModes: [ReadWriteOnce]
        {{- with $root.Values.quickstart.storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources: {requests: {storage: {{ .values.size }}}}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "prognode.metadata" . | nindent 2 }}
spec:
  selector:
    {{- include "prognode.selector" . | nindent 4 }}
  ports:
    - {name: {{ .component }}, port: {{ .port }}, targetPort: {{ .component }}}
---
{{ include "prognode.networkPolicy" (dict "root" .root "component" .component) }}
{{- end -}}

{{/* What every pod of the release has in common. */}}

{{/* pod security "restricted": (dict "user" UID) */}}
{{- define "prognode.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .user }}
fsGroup: {{ .user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "prognode.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Links to services would be variables that begin with PROGNODE_, which the node refuses as settings that it does not know. */}}
{{- define "prognode.podBasics" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* (dict "root" $ "component" NAME "values" VALUES) */}}
{{- define "prognode.placement" -}}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- range .root.Values.topologySpread.keys }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ $.root.Values.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "prognode.selector" $ | nindent 8 }}
  {{- end }}
{{- end -}}

{{/* A service listens for probes only when all that it needs has answered; so long, the start-up probe has patience. */}}
{{- define "prognode.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: probes}
  periodSeconds: 5
  failureThreshold: 120
livenessProbe:
  httpGet: {path: /healthz, port: probes}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: probes}
  periodSeconds: 5
  timeoutSeconds: 6
  failureThreshold: 2
{{- end -}}

{{/* (dict "root" $ "component" NAME "values" VALUES "extra" EXTRA): the pod of a service; EXTRA adds to its lists */}}
{{- define "prognode.serviceTemplate" -}}
{{- $extra := .extra | default dict -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- include "prognode.selector" . | nindent 4 }}
    app.kubernetes.io/part-of: prognode
  annotations:
    checksum/settings: {{ include "prognode.settings" $root | sha256sum }}
    {{- with $root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "prognode.serviceAccount" $root }}
  {{- include "prognode.podBasics" $root | nindent 2 }}
  {{- include "prognode.placement" . | nindent 2 }}
  # 30 s for the loops, 5 s for the stores in hand, and some to spare
  terminationGracePeriodSeconds: 45
  securityContext:
    {{- include "prognode.podSecurity" (dict "user" 10001) | nindent 4 }}
  {{- with $extra.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "prognode.image" . }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [prognode, serve, {{ .component }}]
      securityContext:
        {{- include "prognode.containerSecurity" . | nindent 8 }}
      envFrom:
        - configMapRef: {name: {{ include "prognode.fullname" $root }}-settings}
      env:
        {{- include "prognode.secretEnv" . | nindent 8 }}
        {{- with $extra.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - {name: probes, containerPort: {{ $root.Values.probes.port }}}
        {{- with $extra.ports }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- include "prognode.probes" . | nindent 6 }}
      resources:
        {{- toYaml .values.resources | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- if $root.Values.secrets.kafka.caSecret }}
        - {name: kafka-ca, mountPath: /etc/prognode/kafka, readOnly: true}
        {{- end }}
        {{- if include "prognode.usesSpool" . }}
        - {name: spool, mountPath: /var/lib/prognode/spool}
        {{- end }}
        {{- with $extra.volumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- with $root.Values.secrets.kafka }}
    {{- if .caSecret }}
    - name: kafka-ca
      secret: {secretName: {{ .caSecret }}}
    {{- end }}
    {{- end }}
    {{- if and (include "prognode.usesSpool" .) (ne .component "receiver") }}
    - name: spool
      persistentVolumeClaim: {claimName: spool-{{ include "prognode.fullname" $root }}-receiver-0}
    {{- end }}
    {{- with $extra.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* "yes" where objects are in the receiver's folder, and the component reads or writes objects */}}
{{- define "prognode.usesSpool" -}}
{{- $needs := get (include "prognode.edges" .root | fromYaml) .component -}}
{{- if and .root.Values.receiver.spool.enabled (has "s3" $needs) }}yes{{ end -}}
{{- end -}}

{{/* (dict "root" $ "component" NAME "values" VALUES "extra" EXTRA): a service without a name of its own for each replica */}}
{{- define "prognode.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "prognode.metadata" . | nindent 2 }}
spec:
  {{- if not (and .root.Values.keda.enabled .values.autoscaling) }}
  replicas: {{ .values.replicas }}
  {{- end }}
  strategy:
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  selector:
    matchLabels:
      {{- include "prognode.selector" . | nindent 6 }}
  template:
    {{- include "prognode.serviceTemplate" . | nindent 4 }}
{{- end -}}

{{- define "prognode.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "prognode.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  # who waits for a server is not ready, and holds up nobody who empties a machine
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "prognode.selector" . | nindent 6 }}
{{- end -}}

{{/* a service that gives metrics, and no other service's port */}}
{{- define "prognode.probesService" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "prognode.metadata" . | nindent 2 }}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "prognode.selector" . | nindent 4 }}
  ports:
    - {name: probes, port: {{ .root.Values.probes.port }}, targetPort: probes}
{{- end -}}

{{/* (dict "root" $ "component" NAME "values" VALUES): KEDA's scaler on the lag of each topic that the component consumes */}}
{{- define "prognode.scaledObject" -}}
{{- $root := .root -}}
{{- $kafka := $root.Values.config.kafka -}}
{{- $prefix := $kafka.topic_prefix | default "prognode" -}}
{{- $settings := include "prognode.settings" $root | fromYaml -}}
{{- $protocol := $kafka.security_protocol | default "PLAINTEXT" -}}
{{- $sasl := hasPrefix "SASL" $protocol -}}
{{- $tls := hasSuffix "SSL" $protocol -}}
{{- $kinds := dict "PLAIN" "plaintext" "SCRAM-SHA-256" "scram_sha256" "SCRAM-SHA-512" "scram_sha512" -}}
{{- if $root.Values.keda.enabled }}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  {{- include "prognode.metadata" . | nindent 2 }}
spec:
  scaleTargetRef:
    kind: Deployment
    name: {{ include "prognode.fullname" $root }}-{{ .component }}
  pollingInterval: {{ $root.Values.keda.pollingInterval }}
  cooldownPeriod: {{ $root.Values.keda.cooldownPeriod }}
  minReplicaCount: {{ .values.autoscaling.minReplicas }}
  maxReplicaCount: {{ .values.autoscaling.maxReplicas }}
  triggers:
    {{- range $topic, $plan := $root.Files.Get "files/topics.yaml" | fromYaml }}
    {{- range $group := $plan.groups }}
    {{- if eq $group.service $.component }}
    - type: kafka
      metadata:
        bootstrapServers: {{ $settings.PROGNODE_KAFKA__BOOTSTRAP }}
        consumerGroup: {{ $prefix }}.{{ $group.name }}
        topic: {{ $prefix }}.{{ $topic }}
        lagThreshold: {{ $.values.autoscaling.lag | quote }}
        offsetResetPolicy: earliest
        {{- if $sasl }}
        sasl: {{ get $kinds ($kafka.sasl_mechanism | default "SCRAM-SHA-512") }}
        {{- end }}
        {{- if $tls }}
        tls: enable
        {{- end }}
      {{- if or $sasl $root.Values.secrets.kafka.caSecret }}
      authenticationRef: {name: {{ include "prognode.fullname" $root }}-kafka}
      {{- end }}
    {{- end }}
    {{- end }}
    {{- end }}
{{- end }}
{{- end -}}

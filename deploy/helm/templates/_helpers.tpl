{{- define "cc-serve.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "cc-serve.selector" -}}
app.kubernetes.io/name: cc-serve
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cc-serve.labels" -}}
{{ include "cc-serve.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "cc-serve.image" -}}
{{- $default := ternary (printf "%s-cuda" .Chart.AppVersion) .Chart.AppVersion (gt (int .Values.gpu.count) 0) -}}
{{ .Values.image.repository }}:{{ default $default .Values.image.tag }}
{{- end -}}

{{/* The server's configuration with the store, or nothing. */}}
{{- define "cc-serve.configuration" -}}
{{- $content := deepCopy .Values.configuration.content -}}
{{- with .Values.store -}}
{{- if .url -}}
{{- $store := dict "url" .url "on_error" .onError -}}
{{- if and .secret.name .secret.passwordKey -}}
{{- $_ := set $store "password_file" (printf "/etc/cc-serve-store/%s" .secret.passwordKey) -}}
{{- end -}}
{{- if and .secret.name .secret.caKey -}}
{{- $_ := set $store "ca_file" (printf "/etc/cc-serve-store/%s" .secret.caKey) -}}
{{- end -}}
{{- $content = mustMergeOverwrite $content (dict "limits" (dict "store" $store)) -}}
{{- end -}}
{{- end -}}
{{- if $content -}}
{{- toYaml $content -}}
{{- end -}}
{{- end -}}

{{/* The Secret with server.yaml, or nothing. */}}
{{- define "cc-serve.secret" -}}
{{- if include "cc-serve.configuration" . -}}
{{ include "cc-serve.name" . }}
{{- else -}}
{{ .Values.configuration.existingSecret }}
{{- end -}}
{{- end -}}

{{- define "cc-serve.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* What no schema of values can say, because it is about several of them. */}}
{{- define "cc-serve.check" -}}
{{- with .Values -}}
{{- if and (eq .model.source "claim") (not .model.claim.name) -}}
{{- fail "model.source is claim: model.claim.name has to name a PersistentVolumeClaim" -}}
{{- end -}}
{{- if and (eq .model.source "download") (not .model.download.image) -}}
{{- fail "model.source is download: model.download.image has to name the image of the init container" -}}
{{- end -}}
{{- if and (eq .model.source "download") .networkPolicy.enabled (not .networkPolicy.egress) -}}
{{- fail "model.source is download, and networkPolicy.egress allows nothing: it has to allow the download" -}}
{{- end -}}
{{- $unused := list
    (list "model.claim.name" (and .model.claim.name (ne .model.source "claim")) "model.source: claim")
    (list "model.download.image" (and .model.download.image (ne .model.source "download")) "model.source: download")
    (list "store.onError" (and (ne .store.onError "allow") (not .store.url)) "store.url")
    (list "store.secret.name" (and .store.secret.name (not .store.url)) "store.url")
    (list "store.secret.caKey" (and .store.secret.caKey (not .store.secret.name)) "store.secret.name") -}}
{{- range $unused -}}
{{- if index . 1 -}}
{{- fail (printf "%s has no effect without %s" (index . 0) (index . 2)) -}}
{{- end -}}
{{- end -}}
{{- if and .configuration.content .configuration.existingSecret -}}
{{- fail "configuration.content and configuration.existingSecret: only one of them" -}}
{{- end -}}
{{- if and .store.url .configuration.existingSecret -}}
{{- fail "store.url and configuration.existingSecret: write limits.store into that Secret instead" -}}
{{- end -}}
{{- if and .store.url (dig "limits" "store" "url" "" .configuration.content) -}}
{{- fail "store.url and configuration.content.limits.store.url: only one of them" -}}
{{- end -}}
{{- if and .store.url .networkPolicy.enabled (not .networkPolicy.egress) -}}
{{- fail "store.url is set, and networkPolicy.egress allows nothing: it has to allow the store" -}}
{{- end -}}
{{- if and .configuration.content.keys .serviceMonitor.enabled (not .serviceMonitor.keySecret.name)
    (not (has "/metrics" (default list .configuration.content.open_paths))) -}}
{{- fail "with keys, Prometheus may not read /metrics: add it to configuration.content.open_paths, or set serviceMonitor.keySecret" -}}
{{- end -}}
{{- if ne .autoscaling.kind "none" -}}
{{- if gt (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas) -}}
{{- fail "autoscaling.minReplicas is above autoscaling.maxReplicas" -}}
{{- end -}}
{{- if not (or .autoscaling.runningRequests .autoscaling.waitingRequests) -}}
{{- fail "autoscaling needs runningRequests, waitingRequests or both" -}}
{{- end -}}
{{- end -}}
{{- if and (eq .autoscaling.kind "keda") (not .autoscaling.prometheus) -}}
{{- fail "autoscaling.kind is keda: autoscaling.prometheus has to be the address of a Prometheus server" -}}
{{- end -}}
{{- end -}}
{{- end -}}

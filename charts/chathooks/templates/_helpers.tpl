{{/* Name of everything in this release: `chathooks-operator` for the release `chathooks`. */}}
{{- define "chathooks.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains .Chart.Name .Release.Name -}}
{{ printf "%s-operator" (.Release.Name | trunc 40 | trimSuffix "-") }}
{{- else -}}
{{ printf "%s-%s-operator" (.Release.Name | trunc 30 | trimSuffix "-") .Chart.Name }}
{{- end -}}
{{- end -}}

{{/* What the operator's pods are selected by; dispatchers share the name, not the component. */}}
{{- define "chathooks.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "chathooks.labels" -}}
{{ include "chathooks.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "chathooks.serviceAccountName" -}}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.create is false: set serviceAccount.name to the ServiceAccount that the operator is to use" -}}
{{- end -}}
{{ .Values.serviceAccount.name | default (include "chathooks.fullname" .) }}
{{- end -}}

{{- define "chathooks.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Subject of every binding. */}}
{{- define "chathooks.subjects" -}}
- kind: ServiceAccount
  name: {{ include "chathooks.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- define "offload.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "offload.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "offload.relaySelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: relay
{{- end -}}

{{- /* The relay's own configuration: what the chart knows, under what the administrator says. */ -}}
{{- define "offload.relayConfig" -}}
{{- $relay := .Values.relay -}}
{{- $config := dict
  "domain" $relay.domain
  "certificate_file" "/etc/jupyter-offload/tls/tls.crt"
  "key_file" "/etc/jupyter-offload/tls/tls.key"
  "state_dir" "/var/lib/jupyter-offload-relay/leases"
  "listen" (dict "port" 8443)
  "identities" $relay.identities -}}
{{- if $relay.metrics.tokenSecret -}}
{{- $_ := set $config "metrics" (dict "address" "0.0.0.0:9464" "token_file" "/etc/jupyter-offload/metrics/token") -}}
{{- end -}}
{{- toYaml (mergeOverwrite $config $relay.settings) -}}
{{- end -}}

{{- define "offload.relayFile" -}}
{{- if .Values.users.relayFile -}}
{{- toYaml .Values.users.relayFile -}}
{{- else -}}
{{- $port := .Values.relay.service.port -}}
{{- if eq .Values.relay.service.type "NodePort" -}}
{{- $port = required "relay.service.nodePort: workers dial this port; choose one" .Values.relay.service.nodePort -}}
{{- end -}}
{{- toYaml (dict
  "addresses" (list (printf "%s:%v" .Values.relay.domain $port))
  "domain" .Values.relay.domain
  "identity" (dict "token_variable" "JUPYTERHUB_API_TOKEN")) -}}
{{- end -}}
{{- end -}}

{{- /* "true" if the relay asks the API server who users are: only then it gets a token. */ -}}
{{- define "offload.asksKubernetes" -}}
{{- $asks := false -}}
{{- range .Values.relay.identities -}}
{{- if eq (toString .type) "kubernetes" -}}{{- $asks = true -}}{{- end -}}
{{- end -}}
{{- $asks -}}
{{- end -}}

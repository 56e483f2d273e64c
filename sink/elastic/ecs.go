package elastic

import (
	"cmp"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/sink"
)

// Version is that of the Elastic Common Schema that documents follow.
const Version = "8.17.0"

// Document is an event in the Elastic Common Schema.
func Document(e *event.Event) map[string]any {
	out := map[string]any{}
	sink.Each(Fields(), e, func(name string, value any) { put(out, name, value) })
	return out
}

// put sets a field whose name is a path with dots.
func put(in map[string]any, name string, value any) {
	for {
		head, rest, deeper := strings.Cut(name, ".")
		if !deeper {
			in[name] = value
			return
		}
		next, ok := in[head].(map[string]any)
		if !ok {
			next = map[string]any{}
			in[head] = next
		}
		in, name = next, rest
	}
}

func row(name, from string, of func(*event.Event) any) sink.Field {
	return sink.Field{Name: name, From: from, Of: of}
}

// Fields are the fields of a document.
func Fields() []sink.Field { return fields }

// fields is a constant table.
var fields = concat(general, requests, network, identity, foreign, ours)

func concat(tables ...[]sink.Field) (out []sink.Field) {
	for _, t := range tables {
		out = append(out, t...)
	}
	return out
}

var general = []sink.Field{ // a constant table
	row("@timestamp", "(time)", func(e *event.Event) any { return e.Time.UTC().Format(time.RFC3339Nano) }),
	row("ecs.version", "("+Version+")", func(*event.Event) any { return Version }),
	row("message", "(a line for people)", func(e *event.Event) any { return sink.Message(e) }),
	row("event.id", "metadata.uid", func(e *event.Event) any { return e.UID() }),
	row("event.kind", "(event, or alert from medium severity on)", kind),
	row("event.category", "(class_uid)", func(e *event.Event) any { return category(e) }),
	row("event.type", "(activity_id, action_id)", func(e *event.Event) any { return types(e) }),
	row("event.action", "(http_request.http_method, or the kind of act)", action),
	row("event.outcome", "(status_id)", outcome),
	row("event.reason", "(status_detail, status_code)", reason),
	row("event.severity", "severity_id", func(e *event.Event) any { return int64(e.SeverityID()) }),
	row("event.duration", "unmapped.took_ns", func(e *event.Event) any { return sink.Positive(int64(e.Took)) }),
	row("event.module", "(palisade)", func(*event.Event) any { return "palisade" }),
	row("event.dataset", "(palisade.events)", func(*event.Event) any { return "palisade.events" }),
	row("event.original", "(the event as written)", func(e *event.Event) any { return string(event.AppendJSON(nil, e)) }),
	row("observer.vendor", "metadata.product.vendor_name", func(*event.Event) any { return "Palisade" }),
	row("observer.product", "metadata.product.name", func(*event.Event) any { return "Palisade" }),
	row("observer.type", "(proxy)", func(*event.Event) any { return "proxy" }),
	row("trace.id", "trace.uid", func(e *event.Event) any { return e.TraceID }),
	row("span.id", "trace.span.uid", spanned),
	row("rule.id", "(firewall_rule.uid, policy.uid)", func(e *event.Event) any { id, _ := sink.Rule(e); return id }),
	row("rule.description", "(firewall_rule.desc, policy.desc)", func(e *event.Event) any { _, text := sink.Rule(e); return text }),
}

var requests = []sink.Field{ // a constant table
	row("http.request.id", "http_request.uid", ofRequest(func(e *event.Event) any { return e.ID })),
	row("http.request.method", "http_request.http_method", func(e *event.Event) any { return e.Method }),
	row("http.request.referrer", "http_request.referrer", func(e *event.Event) any { return e.Referer }),
	row("http.request.body.bytes", "http_request.body_length", ofRequest(func(e *event.Event) any { return sink.Positive(e.BytesIn) })),
	row("http.response.status_code", "http_response.code", func(e *event.Event) any { return sink.Positive(e.Status) }),
	row("http.response.body.bytes", "http_response.body_length", ofRequest(func(e *event.Event) any { return sink.Positive(e.BytesOut) })),
	row("http.version", "(http_request.version)", func(e *event.Event) any { return strings.TrimPrefix(e.Proto, "HTTP/") }),
	row("url.scheme", "http_request.url.scheme", func(e *event.Event) any { return e.Scheme }),
	row("url.domain", "http_request.url.hostname", ofRequest(func(e *event.Event) any { host, _ := sink.HostPort(e.Host); return host })),
	row("url.port", "http_request.url.port", ofRequest(func(e *event.Event) any { _, port := sink.HostPort(e.Host); return sink.Positive(port) })),
	row("url.path", "http_request.url.path", func(e *event.Event) any { return e.Path }),
	row("url.query", "http_request.url.query_string", func(e *event.Event) any { return e.Query }),
	row("user_agent.original", "http_request.user_agent", func(e *event.Event) any { return e.UserAgent }),
}

var network = []sink.Field{ // a constant table
	row("source.address", "(src_endpoint)", func(e *event.Event) any { return e.Client }),
	row("source.ip", "src_endpoint.ip", func(e *event.Event) any { return sink.IP(e.Client) }),
	row("source.port", "src_endpoint.port", func(e *event.Event) any { return sink.Positive(e.ClientPort) }),
	row("client.ip", "src_endpoint.ip", func(e *event.Event) any { return sink.IP(e.Client) }),
	row("destination.address", "unmapped.upstream.address", func(e *event.Event) any { return e.Upstream }),
	row("destination.ip", "(unmapped.upstream.address)", func(e *event.Event) any { host, _ := sink.HostPort(e.Upstream); return sink.IP(host) }),
	row("destination.port", "(unmapped.upstream.address)", func(e *event.Event) any { _, port := sink.HostPort(e.Upstream); return sink.Positive(port) }),
	row("network.transport", "(tcp)", transport),
	row("network.protocol", "(http, or that of the connection)", protocol),
	row("tls.version", "tls.version", func(e *event.Event) any { return e.TLSVersion }),
	row("tls.cipher", "tls.cipher", func(e *event.Event) any { return e.TLSCipher }),
	row("tls.curve", "unmapped.tls_group", func(e *event.Event) any { return e.TLSGroup }),
	row("tls.client.server_name", "tls.sni", func(e *event.Event) any { return e.TLSServer }),
}

var identity = []sink.Field{ // a constant table
	row("user.id", "(actor.user.uid of a person)", func(e *event.Event) any { return sink.User(e) }),
	row("user.roles", "(actor.user.groups.name)", func(e *event.Event) any { return roles(e) }),
	row("service.name", "(dst_endpoint.svc_name of a request or connection)", func(e *event.Event) any { return sink.Service(e) }),
}

var foreign = []sink.Field{ // a constant table: log records that were taken in
	row("log.level", "(metadata.log_level)", ofLog(func(e *event.Event) any { return cmp.Or(e.Log.Severity.Level(), e.Log.Level) })),
	row("log.logger", "metadata.log_name", ofLog(func(e *event.Event) any { return e.Log.Source })),
	row("host.name", "unmapped.log.host", ofLog(func(e *event.Event) any { return e.Host })),
}

var ours = []sink.Field{ // a constant table
	row("palisade.outcome", "(action_id, disposition_id)", func(e *event.Event) any { return sink.Outcome(e) }),
	row("palisade.fleet", "unmapped.fleet", func(e *event.Event) any { return e.Fleet }),
	row("palisade.snapshot", "unmapped.snapshot", func(e *event.Event) any { return e.Snapshot }),
	row("palisade.route", "unmapped.route", func(e *event.Event) any { return e.Route }),
	row("palisade.template", "unmapped.template", func(e *event.Event) any { return e.Template }),
	row("palisade.workload", "unmapped.workload", func(e *event.Event) any { return e.Workload }),
	row("palisade.side", "(unmapped.side)", side),
	row("palisade.act.object", "unmapped.act.object", ofAct(func(a *event.Act) any { return a.Object })),
	row("palisade.act.proxy", "unmapped.act.proxy", ofAct(func(a *event.Act) any { return a.Proxy })),
}

package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
)

// The entity types of the schema.
const (
	typeUser      cedar.EntityType = "User"
	typeAnonymous cedar.EntityType = "Anonymous"
	typeRole      cedar.EntityType = "Role"
	typeService   cedar.EntityType = "Service"
	typeRoute     cedar.EntityType = "Route"
	typeAction    cedar.EntityType = "Action"
)

// Entities that never change.
var (
	anyone      = cedar.NewEntityUID(typeAnonymous, "anyone")
	actionRead  = cedar.NewEntityUID(typeAction, "read")
	actionWrite = cedar.NewEntityUID(typeAction, "write")
)

// head is the part of the schema that does not depend on the model, but for claims.
const head = `// Who asks.
entity Role in [Role];
entity User in [Role] {
  provider: String,
  subject: String,
  issuer: String,
  client_id?: String,
  roles: Set<String>,
  scopes: Set<String>,
  acr?: String,
  amr: Set<String>,
  claims: Claims,
};
entity Anonymous enum ["anyone"];

// What is asked for.
entity Service {
  name: String,
  owner?: String,
  data: Set<String>,
%[1]s};
entity Route in [Service] {
  service: String,
  host: String,
  path: String,
  owner?: String,
  data: Set<String>,
};

// The circumstances. Times are UTC; weekday is 1 (Monday) to 7 (Sunday); auth_age is in seconds.
type Context = {
  time: datetime,
  hour: Long,
  minute: Long,
  weekday: Long,
  ip: ipaddr,
  host: String,
  path: String,
  authenticated: Bool,
  acr?: String,
  amr: Set<String>,
  auth_age?: Long,
  tls_version?: String,
  workload?: String,
  params: Params,
%[2]s};
`

// What a mesh adds to the head: services have a SPIFFE ID, and the end user stands beside the calling service.
const (
	meshService = "  id: String,\n"
	meshContext = "  user?: User,\n"
)

// schemaText writes the schema of a snapshot: claims, path parameters and methods come from the model.
func schemaText(claims map[string]string, params, methods []string, meshed bool) string {
	var b strings.Builder
	b.WriteString("// Generated from the model.\n\n")
	principals, service, context := "User, Anonymous", "", ""
	if meshed {
		principals, service, context = "User, Anonymous, Service", meshService, meshContext
	}
	fmt.Fprintf(&b, head, service, context)
	b.WriteString("\n// Claims that some provider declares.\ntype Claims = {\n")
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		kind := "String"
		switch claims[name] {
		case "long":
			kind = "Long"
		case "bool":
			kind = "Bool"
		case "set":
			kind = "Set<String>"
		}
		b.WriteString("  " + quote(name) + "?: " + kind + ",\n")
	}
	b.WriteString("};\n\n// Parameters of path templates.\ntype Params = {\n")
	for _, name := range params {
		b.WriteString("  " + quote(name) + "?: String,\n")
	}
	b.WriteString("};\n\n// What is done.\naction \"read\";\naction \"write\";\n")
	for _, m := range methods {
		b.WriteString("action " + quote(m) + " in [" + quote(string(groupOf(m).ID)) +
			"] appliesTo { principal: [" + principals + "], resource: [Route], context: Context };\n")
	}
	return b.String()
}

// The attributes that the schema above declares; a test holds them to it.

func contextAttributes() []string {
	return []string{
		"time", "hour", "minute", "weekday", "ip", "host", "path", "authenticated", "acr", "amr", "auth_age",
		"tls_version", "workload", "params",
	}
}

func userAttributes() []string {
	return []string{"provider", "subject", "issuer", "client_id", "roles", "scopes", "acr", "amr", "claims"}
}

func serviceAttributes() []string { return []string{"name", "owner", "data", "id"} }

func routeAttributes() []string { return []string{"service", "host", "path", "owner", "data"} }

// quote writes a Cedar string literal.
func quote(s string) string { return string(cedar.String(s).MarshalCedar()) }

// groupOf is the action group of a method: read if it is safe (RFC 9110, section 9.2.1), else write.
func groupOf(method string) cedar.EntityUID {
	switch method {
	case "GET", "HEAD", "OPTIONS":
		return actionRead
	}
	return actionWrite
}

// methodsOf returns the methods that the schema declares: the usual ones and those of all routes.
func methodsOf(routes []declared) []string {
	methods := []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
	for _, r := range routes {
		methods = append(methods, r.Methods...)
	}
	slices.Sort(methods)
	return slices.Compact(methods)
}

// paramsOf returns the names of all path parameters.
func paramsOf(routes []declared) []string {
	var names []string
	for _, r := range routes {
		names = append(names, templateParams(r.Path)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// templateParams returns the names in braces of a path template.
func templateParams(template string) []string {
	var names []string
	for segment := range strings.SplitSeq(template, "/") {
		_, rest, ok := strings.Cut(segment, "{")
		name, _, closed := strings.Cut(rest, "}")
		if ok && closed && name != "" {
			names = append(names, name)
		}
	}
	return names
}

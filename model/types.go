// Package model is the declared fleet: the types behind palisade.yaml, their loading, validation, comparison
// and compilation into one immutable Snapshot. It decides nothing about requests; rooms above it do.
package model

// Fleet is the whole declared model: what palisade.yaml holds. Several files merge into one Fleet.
type Fleet struct {
	Version     int                 `yaml:"version"`                // version of this format; always 1
	Fleet       string              `yaml:"fleet"`                  // name of the fleet
	TrustDomain string              `yaml:"trust_domain"`           // SPIFFE trust domain, a lower-case DNS-like name
	Edge        Edge                `yaml:"edge"`                   // where the fleet meets the world
	Providers   map[string]Provider `yaml:"providers,omitempty"`    // who may say who a user is
	Roles       map[string]Role     `yaml:"roles,omitempty"`        // roles that grants and policies may name
	DataClasses map[string]Class    `yaml:"data_classes,omitempty"` // kinds of data services may declare
	Services    map[string]Service  `yaml:"services"`               // the fleet's services
	Policies    []string            `yaml:"policies,omitempty"`     // directories or files with Cedar policies, relative to the file that names them
	WAF         WAF                 `yaml:"waf,omitempty"`          // defaults for every route
	Audit       Audit               `yaml:"audit,omitempty"`        // what recording must guarantee
	Telemetry   Telemetry           `yaml:"telemetry,omitempty"`    // traces
}

// Edge declares listeners and the bounds every outside request meets.
type Edge struct {
	Listeners      map[string]Listener `yaml:"listeners"`
	Admin          string              `yaml:"admin,omitempty"`           // address of the admin listener (metrics, health); default 127.0.0.1:9900
	TrustedProxies []Prefix            `yaml:"trusted_proxies,omitempty"` // peers whose Forwarded headers are believed
	Timeouts       Timeouts            `yaml:"timeouts,omitempty"`
	Sizes          Sizes               `yaml:"sizes,omitempty"`
	Concurrency    Concurrency         `yaml:"concurrency,omitempty"`
	Limits         []Limit             `yaml:"limits,omitempty"` // for every request at the edge
	Dev            bool                `yaml:"dev,omitempty"`    // answers tell more than an attacker should know
}

// Listener is one address with TLS on which the edge accepts requests.
type Listener struct {
	Address      string `yaml:"address"`                 // host:port
	RedirectFrom string `yaml:"redirect_from,omitempty"` // host:port of a plain HTTP listener that only redirects here
	TLS          TLS    `yaml:"tls"`
	HSTS         HSTS   `yaml:"hsts,omitempty"`
}

// TLS says which certificates a listener shows. Exactly one of Certificates and Local is set.
type TLS struct {
	Certificates []Certificate `yaml:"certificates,omitempty"` // reloaded when the files change
	Local        bool          `yaml:"local,omitempty"`        // self-made certificates of a local CA, for laptops
	MinVersion   string        `yaml:"min_version,omitempty"`  // "1.2" (default) or "1.3"
}

// Certificate is a PEM chain and its key, paths relative to the file that names them.
type Certificate struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// HSTS is the Strict-Transport-Security answer (RFC 6797). It is on by default with one year, except for
// local certificates.
type HSTS struct {
	Off               bool     `yaml:"off,omitempty"`
	MaxAge            Duration `yaml:"max_age,omitempty"`
	IncludeSubdomains bool     `yaml:"include_subdomains,omitempty"`
	Preload           bool     `yaml:"preload,omitempty"`
}

// Timeouts bound how long one side may keep the other waiting. Zero means the default.
type Timeouts struct {
	Header   Duration `yaml:"header,omitempty"`   // whole request head; default 5s
	Body     Duration `yaml:"body,omitempty"`     // whole request body, and the longest pause within a stream; default 30s
	Idle     Duration `yaml:"idle,omitempty"`     // between two requests on a connection; default 60s
	Write    Duration `yaml:"write,omitempty"`    // longest time a client may take no byte of an answer; default 30s
	Upstream Duration `yaml:"upstream,omitempty"` // until the answer's head; default 30s
	Connect  Duration `yaml:"connect,omitempty"`  // to a service; default 2s
	Drain    Duration `yaml:"drain,omitempty"`    // for requests in flight at shutdown; default 20s
}

// Sizes bound what a client may send. Zero means the default.
type Sizes struct {
	Header  Size `yaml:"header,omitempty"`  // request head in bytes; default 32KiB
	Headers int  `yaml:"headers,omitempty"` // number of header field lines; default 100
	Target  Size `yaml:"target,omitempty"`  // path and query in bytes; default 8KiB
	Body    Size `yaml:"body,omitempty"`    // request body in bytes; default 1MiB
}

// Concurrency bounds what runs at once; what exceeds it is shed with 503. Zero means the default.
type Concurrency struct {
	Connections int `yaml:"connections,omitempty"` // per listener; default 10000
	PerAddress  int `yaml:"per_address,omitempty"` // connections of one client address; default 256
	Requests    int `yaml:"requests,omitempty"`    // in flight at the edge; default 2048
	PerService  int `yaml:"per_service,omitempty"` // in flight to one service; default 512
}

// Provider is an issuer of access tokens (RFC 9068, RFC 8725).
type Provider struct {
	Issuer      string            `yaml:"issuer,omitempty"`      // exact "iss"; an https URL
	Audience    []string          `yaml:"audience,omitempty"`    // any of these must be in "aud"
	Algorithms  []string          `yaml:"algorithms,omitempty"`  // allow-list; default [ES256, RS256, PS256, EdDSA]
	Types       []string          `yaml:"types,omitempty"`       // accepted "typ"; default [at+jwt]
	JWKSURL     string            `yaml:"jwks_url,omitempty"`    // https; default: discovered from the issuer
	JWKSFile    string            `yaml:"jwks_file,omitempty"`   // instead of a URL
	RolesClaim  string            `yaml:"roles_claim,omitempty"` // dotted path; default "roles"
	RoleMap     map[string]string `yaml:"role_map,omitempty"`    // value of the claim to declared role; default: same name
	Claims      map[string]string `yaml:"claims,omitempty"`      // claims policies may use, by type: string, long, bool, set
	Skew        Duration          `yaml:"skew,omitempty"`        // tolerated clock difference; default 30s, at most 2m
	Development bool              `yaml:"development,omitempty"` // made by "palisade token"; refused outside "palisade up"
}

// Role is a name that grants and policies use for a group of users.
type Role struct {
	Description string   `yaml:"description,omitempty"`
	Includes    []string `yaml:"includes,omitempty"` // roles whose rights this one has too
}

// Class is a kind of data, such as personal or payment data.
type Class struct {
	Description string   `yaml:"description,omitempty"`
	Redact      []string `yaml:"redact,omitempty"` // names of parameters, headers and JSON fields never written to a record
}

// Service is one member of the fleet. Exactly one of Address and Run with Address is meaningful: Address is
// always where it listens, Run says how "palisade up" starts it.
type Service struct {
	Description string   `yaml:"description,omitempty"`
	Owner       string   `yaml:"owner,omitempty"`    // team that answers for it
	Address     string   `yaml:"address"`            // http://host:port, https://host:port, h2c://host:port (gRPC)
	Run         *Run     `yaml:"run,omitempty"`      // started by "palisade up"
	API         string   `yaml:"api,omitempty"`      // OpenAPI document, relative to the file that names it
	Data        []string `yaml:"data,omitempty"`     // data classes it holds
	Callers     []string `yaml:"callers,omitempty"`  // services that may call it
	Expose      []Route  `yaml:"expose,omitempty"`   // what the edge lets in
	Limits      []Limit  `yaml:"limits,omitempty"`   // for every route of the service
	Upstream    Upstream `yaml:"upstream,omitempty"` // how the edge talks to it
}

// Run is a process that "palisade up" starts, waits for and stops.
type Run struct {
	Command []string         `yaml:"command"`
	Dir     string           `yaml:"dir,omitempty"` // relative to the file that names it; default its folder
	Env     map[string]Value `yaml:"env,omitempty"`
	Ready   string           `yaml:"ready,omitempty"` // path that answers 2xx when ready; default: the port accepts
	After   []string         `yaml:"after,omitempty"` // services that must be ready first; callees always are
}

// Value is a literal or a reference to a secret. A literal that looks like a secret is an error.
type Value struct {
	Value    string `yaml:"value,omitempty"`
	FromEnv  string `yaml:"from_env,omitempty"`  // name of an environment variable
	FromFile string `yaml:"from_file,omitempty"` // path, relative to the file that names it
}

// Upstream says how the edge talks to a service.
type Upstream struct {
	Timeout     Duration `yaml:"timeout,omitempty"`     // until the answer's head; default edge.timeouts.upstream
	Connections int      `yaml:"connections,omitempty"` // kept open; default 64
	Retries     int      `yaml:"retries,omitempty"`     // of requests that are safe to repeat; default 1, at most 3
	CA          string   `yaml:"ca,omitempty"`          // PEM roots for https addresses; default the system's
	ServerName  string   `yaml:"server_name,omitempty"` // expected certificate name; default the host
}

// Route is one exposure of a service by host and path.
type Route struct {
	Host       string    `yaml:"host"`                 // exact name, or *.example.com for one label
	Path       string    `yaml:"path"`                 // template: /orders/{id}, or a subtree: /assets/**
	Methods    []string  `yaml:"methods,omitempty"`    // default GET, HEAD, POST, PUT, PATCH, DELETE as far as grants name them
	Allow      []Grant   `yaml:"allow,omitempty"`      // short form of policies; none: only policies/*.cedar can permit
	Providers  []string  `yaml:"providers,omitempty"`  // accepted here; default all
	Limits     []Limit   `yaml:"limits,omitempty"`     // for this route
	WAF        WAF       `yaml:"waf,omitempty"`        // overrides the fleet's
	Validate   *Validate `yaml:"validate,omitempty"`   // overrides the default
	Body       Size      `yaml:"body,omitempty"`       // overrides edge.sizes.body
	Timeout    Duration  `yaml:"timeout,omitempty"`    // overrides the service's
	Upgrade    []string  `yaml:"upgrade,omitempty"`    // protocols a client may switch to: websocket
	Stream     bool      `yaml:"stream,omitempty"`     // bodies without end (SSE, gRPC streams): no body timeout, only a pause timeout
	DryRun     []string  `yaml:"dry_run,omitempty"`    // stages that decide and record, but do not refuse: authenticate, authorise, limit, inspect, validate
	Deprecated bool      `yaml:"deprecated,omitempty"` // answered with a Deprecation header (RFC 9745)
	CORS       []string  `yaml:"cors,omitempty"`       // origins that may read answers; default none
}

// Grant permits a group of users some methods on a route.
type Grant struct {
	Anyone  bool     `yaml:"anyone,omitempty"`  // also who did not sign in
	Users   bool     `yaml:"users,omitempty"`   // whoever signed in
	Roles   []string `yaml:"roles,omitempty"`   // any of these
	Scopes  []string `yaml:"scopes,omitempty"`  // all of these must be in the token
	Methods []string `yaml:"methods,omitempty"` // default: all methods of the route
}

// Limit is a rate by key (GCRA): Rate requests (or cost units) in Window, Burst at once.
type Limit struct {
	Per   string `yaml:"per"`             // address, user, route, service
	Rate  Rate   `yaml:"rate"`            // 100/1m
	Burst int    `yaml:"burst,omitempty"` // default: the rate's count
	Cost  int    `yaml:"cost,omitempty"`  // units one request takes; default 1
	IPv6  int    `yaml:"ipv6,omitempty"`  // prefix length that counts as one address; default 64
	Name  string `yaml:"name,omitempty"`  // shown in RateLimit-Policy; default made from Per
}

// WAF sets the inspection of requests by the OWASP Core Rule Set. A zero field means: as the level above.
type WAF struct {
	Mode      string      `yaml:"mode,omitempty"`      // block (default), detect, off
	Paranoia  int         `yaml:"paranoia,omitempty"`  // 1 (default) to 4
	Threshold int         `yaml:"threshold,omitempty"` // inbound anomaly score that blocks; default 5
	Body      Size        `yaml:"body,omitempty"`      // bytes of body inspected; more is refused; default edge.sizes.body
	Exclude   []Exclusion `yaml:"exclude,omitempty"`   // added to those of the level above
}

// Exclusion takes a rule, or one parameter of it, out of inspection.
type Exclusion struct {
	Rule   int    `yaml:"rule,omitempty"`   // rule id, e.g. 942100
	Tag    string `yaml:"tag,omitempty"`    // instead of Rule: all rules with this tag
	Target string `yaml:"target,omitempty"` // parameter, e.g. ARGS:comment; default: the whole rule
	Reason string `yaml:"reason"`           // why this is safe; kept in the record
}

// Validate bounds the check of requests against the service's API document. On wherever one is declared.
type Validate struct {
	Off    bool `yaml:"off,omitempty"`
	Depth  int  `yaml:"depth,omitempty"`  // nesting of JSON; default 32
	Keys   int  `yaml:"keys,omitempty"`   // keys of all JSON objects together; default 1000
	Items  int  `yaml:"items,omitempty"`  // items of one JSON array; default 10000
	String Size `yaml:"string,omitempty"` // one JSON string; default: the body's bound
}

// Audit says what happens when a record cannot be written.
type Audit struct {
	Mode   string   `yaml:"mode,omitempty"`   // best-effort (default) counts the loss; strict refuses the request
	Dir    string   `yaml:"dir,omitempty"`    // where records are kept; default .palisade/events
	Keep   Size     `yaml:"keep,omitempty"`   // bytes kept on disk; default 1GiB
	Redact []string `yaml:"redact,omitempty"` // names of parameters, headers and JSON fields never recorded
}

// Telemetry sends traces over OTLP/HTTP.
type Telemetry struct {
	OTLP    string           `yaml:"otlp,omitempty"`    // http(s)://host:port of a collector; default none
	Sample  float64          `yaml:"sample,omitempty"`  // share of new traces; default 0.1 when otlp is set
	Headers map[string]Value `yaml:"headers,omitempty"` // sent to the collector
}

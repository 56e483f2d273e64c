// Package model is the declared fleet: the types behind palisade.yaml, their loading, validation, comparison
// and compilation into one immutable Snapshot. It decides nothing about requests; rooms above it do.
package model

// Fleet is the whole declared model: what palisade.yaml holds. Several files merge into one Fleet.
type Fleet struct {
	Version     int                 `yaml:"version" json:"version" enum:"1"`                     // version of this format; always 1
	Fleet       string              `yaml:"fleet" json:"fleet"`                                  // name of the fleet
	TrustDomain string              `yaml:"trust_domain" json:"trust_domain"`                    // SPIFFE trust domain, a lower-case DNS-like name
	Edge        Edge                `yaml:"edge" json:"edge"`                                    // where the fleet meets the world
	Providers   map[string]Provider `yaml:"providers,omitempty" json:"providers,omitzero"`       // who may say who a user is
	Roles       map[string]Role     `yaml:"roles,omitempty" json:"roles,omitzero"`               // roles that grants and policies may name
	DataClasses map[string]Class    `yaml:"data_classes,omitempty" json:"data_classes,omitzero"` // kinds of data services may declare
	Services    map[string]Service  `yaml:"services" json:"services"`                            // the fleet's services
	Policies    []string            `yaml:"policies,omitempty" json:"policies,omitzero"`         // directories or files with Cedar policies, relative to the file that names them
	WAF         WAF                 `yaml:"waf,omitempty" json:"waf,omitzero"`                   // defaults for every route
	Audit       Audit               `yaml:"audit,omitempty" json:"audit,omitzero"`               // what recording must guarantee
	Telemetry   Telemetry           `yaml:"telemetry,omitempty" json:"telemetry,omitzero"`       // traces
	Intake      *Intake             `yaml:"intake,omitempty" json:"intake,omitzero"`             // log records of services and systems, taken in beside the decisions; default none
	Export      map[string]Export   `yaml:"export,omitempty" json:"export,omitzero"`             // where events go as they are recorded
	Mesh        *Mesh               `yaml:"mesh,omitempty" json:"mesh,omitzero"`                 // identities and sidecars for the services; {} takes every default
}

// Edge declares listeners and the bounds every outside request meets.
type Edge struct {
	Listeners      map[string]Listener `yaml:"listeners" json:"listeners"`
	Admin          string              `yaml:"admin,omitempty" json:"admin,omitzero"`                     // address of the admin listener (metrics, health); default 127.0.0.1:9900
	TrustedProxies []Prefix            `yaml:"trusted_proxies,omitempty" json:"trusted_proxies,omitzero"` // peers whose Forwarded headers are believed
	Timeouts       Timeouts            `yaml:"timeouts,omitempty" json:"timeouts,omitzero"`
	Sizes          Sizes               `yaml:"sizes,omitempty" json:"sizes,omitzero"`
	Concurrency    Concurrency         `yaml:"concurrency,omitempty" json:"concurrency,omitzero"`
	Limits         []Limit             `yaml:"limits,omitempty" json:"limits,omitzero"` // for every request at the edge
	Dev            bool                `yaml:"dev,omitempty" json:"dev,omitzero"`       // answers tell more than an attacker should know
}

// Listener is one address with TLS on which the edge accepts requests.
type Listener struct {
	Address      string `yaml:"address" json:"address"`                                // host:port
	RedirectFrom string `yaml:"redirect_from,omitempty" json:"redirect_from,omitzero"` // host:port of a plain HTTP listener that only redirects here
	TLS          TLS    `yaml:"tls" json:"tls"`
	HSTS         HSTS   `yaml:"hsts,omitempty" json:"hsts,omitzero"`
}

// TLS says which certificates a listener shows. Exactly one of Certificates and Local is set.
type TLS struct {
	Certificates []Certificate `yaml:"certificates,omitempty" json:"certificates,omitzero"`              // reloaded when the files change
	Local        bool          `yaml:"local,omitempty" json:"local,omitzero"`                            // self-made certificates of a local CA, for laptops
	MinVersion   string        `yaml:"min_version,omitempty" json:"min_version,omitzero" enum:"1.2,1.3"` // "1.2" (default) or "1.3"
}

// Certificate is a PEM chain and its key, paths relative to the file that names them.
type Certificate struct {
	Cert string `yaml:"cert" json:"cert"`
	Key  string `yaml:"key" json:"key"`
}

// HSTS is the Strict-Transport-Security answer (RFC 6797). It is on by default with one year, except for
// local certificates.
type HSTS struct {
	Off               bool     `yaml:"off,omitempty" json:"off,omitzero"`
	MaxAge            Duration `yaml:"max_age,omitempty" json:"max_age,omitzero"`
	IncludeSubdomains bool     `yaml:"include_subdomains,omitempty" json:"include_subdomains,omitzero"`
	Preload           bool     `yaml:"preload,omitempty" json:"preload,omitzero"`
}

// Timeouts bound how long one side may keep the other waiting. Zero means the default.
type Timeouts struct {
	Header   Duration `yaml:"header,omitempty" json:"header,omitzero"`     // whole request head; default 5s
	Body     Duration `yaml:"body,omitempty" json:"body,omitzero"`         // whole request body, and the longest pause within a stream; default 30s
	Idle     Duration `yaml:"idle,omitempty" json:"idle,omitzero"`         // between two requests on a connection; default 60s
	Write    Duration `yaml:"write,omitempty" json:"write,omitzero"`       // longest time a client may take no byte of an answer; default 30s
	Upstream Duration `yaml:"upstream,omitempty" json:"upstream,omitzero"` // until the answer's head; default 30s
	Connect  Duration `yaml:"connect,omitempty" json:"connect,omitzero"`   // to a service; default 2s
	Tunnel   Duration `yaml:"tunnel,omitempty" json:"tunnel,omitzero"`     // longest silence, in both directions, on a connection that was upgraded (WebSocket) or is not HTTP; default 1h
	Drain    Duration `yaml:"drain,omitempty" json:"drain,omitzero"`       // for requests in flight at shutdown; default 20s
}

// Sizes bound what a client may send. Zero means the default.
type Sizes struct {
	Header  Size `yaml:"header,omitempty" json:"header,omitzero"`                   // request head in bytes; default 32KiB
	Headers int  `yaml:"headers,omitempty" json:"headers,omitzero" range:"1..1000"` // number of header field lines; default 100
	Target  Size `yaml:"target,omitempty" json:"target,omitzero"`                   // path and query in bytes; default 8KiB
	Body    Size `yaml:"body,omitempty" json:"body,omitzero"`                       // request body in bytes; default 1MiB
}

// Concurrency bounds what runs at once; what exceeds it is shed with 503. Zero means the default.
type Concurrency struct {
	Connections int `yaml:"connections,omitempty" json:"connections,omitzero" range:"1..1000000"` // per listener; default 10000
	PerAddress  int `yaml:"per_address,omitempty" json:"per_address,omitzero" range:"1..1000000"` // connections of one client address; default 256
	Requests    int `yaml:"requests,omitempty" json:"requests,omitzero" range:"1..1000000"`       // in flight at the edge; default 2048
	PerService  int `yaml:"per_service,omitempty" json:"per_service,omitzero" range:"1..1000000"` // in flight to one service; default 512
}

// Provider is an issuer of access tokens (RFC 9068, RFC 8725).
type Provider struct {
	Issuer      string            `yaml:"issuer,omitempty" json:"issuer,omitzero"`                                                                            // exact "iss"; an https URL
	Audience    []string          `yaml:"audience,omitempty" json:"audience,omitzero"`                                                                        // any of these must be in "aud"
	Algorithms  []string          `yaml:"algorithms,omitempty" json:"algorithms,omitzero" enum:"ES256,ES384,ES512,RS256,RS384,RS512,PS256,PS384,PS512,EdDSA"` // allow-list; default [ES256, RS256, PS256, EdDSA]
	Types       []string          `yaml:"types,omitempty" json:"types,omitzero"`                                                                              // accepted "typ"; default [at+jwt]
	JWKSURL     string            `yaml:"jwks_url,omitempty" json:"jwks_url,omitzero"`                                                                        // https; default: discovered from the issuer
	JWKSFile    string            `yaml:"jwks_file,omitempty" json:"jwks_file,omitzero"`                                                                      // instead of a URL
	RolesClaim  string            `yaml:"roles_claim,omitempty" json:"roles_claim,omitzero"`                                                                  // dotted path; default "roles"
	RoleMap     map[string]string `yaml:"role_map,omitempty" json:"role_map,omitzero"`                                                                        // value of the claim to declared role; default: same name
	Claims      map[string]string `yaml:"claims,omitempty" json:"claims,omitzero" enum:"string,long,bool,set"`                                                // claims policies may use, by type: string, long, bool, set
	Skew        Duration          `yaml:"skew,omitempty" json:"skew,omitzero"`                                                                                // tolerated clock difference; default 30s, at most 2m
	Development bool              `yaml:"development,omitempty" json:"development,omitzero"`                                                                  // made by "palisade token"; refused outside "palisade up"
}

// Role is a name that grants and policies use for a group of users.
type Role struct {
	Description string   `yaml:"description,omitempty" json:"description,omitzero"`
	Includes    []string `yaml:"includes,omitempty" json:"includes,omitzero"` // roles whose rights this one has too
}

// Class is a kind of data, such as personal or payment data.
type Class struct {
	Description string   `yaml:"description,omitempty" json:"description,omitzero"`
	Redact      []string `yaml:"redact,omitempty" json:"redact,omitzero"` // names of parameters, headers and JSON fields never written to a record
	Retain      Duration `yaml:"retain,omitempty" json:"retain,omitzero"` // events of services that hold it are kept at least that long; default as audit.retain says
}

// Service is one member of the fleet. Exactly one of Address and Run with Address is meaningful: Address is
// always where it listens, Run says how "palisade up" starts it.
type Service struct {
	Description string              `yaml:"description,omitempty" json:"description,omitzero"`
	Owner       string              `yaml:"owner,omitempty" json:"owner,omitzero"`               // team that answers for it
	Address     string              `yaml:"address" json:"address"`                              // http://host:port, https://host:port, h2c://host:port (gRPC); in a mesh also tcp://host:port
	Run         *Run                `yaml:"run,omitempty" json:"run,omitzero"`                   // started by "palisade up"
	API         string              `yaml:"api,omitempty" json:"api,omitzero"`                   // OpenAPI document, relative to the file that names it
	Data        []string            `yaml:"data,omitempty" json:"data,omitzero"`                 // data classes it holds
	Callers     []string            `yaml:"callers,omitempty" json:"callers,omitzero"`           // services that may call it; default those that serve names, and clients of a broker
	Expose      []Route             `yaml:"expose,omitempty" json:"expose,omitzero"`             // what the edge lets in
	Limits      []Limit             `yaml:"limits,omitempty" json:"limits,omitzero"`             // for every route of the service
	Upstream    Upstream            `yaml:"upstream,omitempty" json:"upstream,omitzero"`         // how the edge talks to it
	Sidecar     Sidecar             `yaml:"sidecar,omitempty" json:"sidecar,omitzero"`           // where the sidecars of the service are
	Workloads   []Workload          `yaml:"workloads,omitempty" json:"workloads,omitzero"`       // what may be this service; any of these
	Serve       []Serve             `yaml:"serve,omitempty" json:"serve,omitzero"`               // what which callers may ask; default everything
	Egress      []Egress            `yaml:"egress,omitempty" json:"egress,omitzero"`             // hosts outside the fleet it may reach; default none
	Publish     map[string][]string `yaml:"publish,omitempty" json:"publish,omitzero"`           // broker to the subjects it may send to: orders.>
	Subscribe   map[string][]string `yaml:"subscribe,omitempty" json:"subscribe,omitzero"`       // broker to the subjects it may receive
	Broker      string              `yaml:"broker,omitempty" json:"broker,omitzero" enum:"nats"` // the service is a message broker that asks us what its clients may do: nats
	BrokerKeys  Value               `yaml:"broker_keys,omitempty" json:"broker_keys,omitzero"`   // of a broker: the secret keys by which it obeys its sidecars; "palisade export nats" makes them
}

// Run is a process that "palisade up" starts, waits for and stops.
type Run struct {
	Command []string         `yaml:"command" json:"command"`
	Build   []string         `yaml:"build,omitempty" json:"build,omitzero"` // command that runs to its end before the service starts, outside its isolated network
	Dir     string           `yaml:"dir,omitempty" json:"dir,omitzero"`     // relative to the file that names it; default its folder
	Env     map[string]Value `yaml:"env,omitempty" json:"env,omitzero"`
	Ready   string           `yaml:"ready,omitempty" json:"ready,omitzero"` // path that answers 2xx when ready; default: the port accepts
	After   []string         `yaml:"after,omitempty" json:"after,omitzero"` // services that must be ready first; callees always are
}

// Value is a literal or a reference to a secret. A literal that looks like a secret is an error.
type Value struct {
	Value    string `yaml:"value,omitempty" json:"value,omitzero"`
	FromEnv  string `yaml:"from_env,omitempty" json:"from_env,omitzero"`   // name of an environment variable
	FromFile string `yaml:"from_file,omitempty" json:"from_file,omitzero"` // path, relative to the file that names it
}

// Upstream says how the edge talks to a service.
type Upstream struct {
	Timeout     Duration `yaml:"timeout,omitempty" json:"timeout,omitzero"`                          // until the answer's head; default edge.timeouts.upstream
	Connections int      `yaml:"connections,omitempty" json:"connections,omitzero" range:"1..10000"` // kept open; default 64
	Retries     int      `yaml:"retries,omitempty" json:"retries,omitzero" range:"1..3"`             // of requests that are safe to repeat; default 1, at most 3
	CA          string   `yaml:"ca,omitempty" json:"ca,omitzero"`                                    // PEM roots for https addresses; default the system's
	ServerName  string   `yaml:"server_name,omitempty" json:"server_name,omitzero"`                  // expected certificate name; default the host
}

// Route is one exposure of a service by host and path.
type Route struct {
	Host         string    `yaml:"host" json:"host"`                                                                               // exact name, or *.example.com for one label
	Path         string    `yaml:"path" json:"path"`                                                                               // template: /orders/{id}, or a subtree: /assets/**
	Methods      []string  `yaml:"methods,omitempty" json:"methods,omitzero" enum:"GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS"`        // default GET, HEAD, POST, PUT, PATCH, DELETE as far as grants name them
	Allow        []Grant   `yaml:"allow,omitempty" json:"allow,omitzero"`                                                          // short form of policies; none: only policies/*.cedar can permit
	Providers    []string  `yaml:"providers,omitempty" json:"providers,omitzero"`                                                  // accepted here; default all
	Limits       []Limit   `yaml:"limits,omitempty" json:"limits,omitzero"`                                                        // for this route
	WAF          WAF       `yaml:"waf,omitempty" json:"waf,omitzero"`                                                              // overrides the fleet's
	Validate     *Validate `yaml:"validate,omitempty" json:"validate,omitzero"`                                                    // overrides the default
	Body         Size      `yaml:"body,omitempty" json:"body,omitzero"`                                                            // overrides edge.sizes.body
	Timeout      Duration  `yaml:"timeout,omitempty" json:"timeout,omitzero"`                                                      // overrides the service's
	Upgrade      []string  `yaml:"upgrade,omitempty" json:"upgrade,omitzero" enum:"websocket"`                                     // protocols a client may switch to: websocket
	Stream       bool      `yaml:"stream,omitempty" json:"stream,omitzero"`                                                        // bodies without end (SSE, gRPC streams): no body timeout, only a pause timeout
	DryRun       []string  `yaml:"dry_run,omitempty" json:"dry_run,omitzero" enum:"authenticate,authorise,limit,inspect,validate"` // stages that decide and record, but do not refuse: authenticate, authorise, limit, inspect, validate
	Deprecated   bool      `yaml:"deprecated,omitempty" json:"deprecated,omitzero"`                                                // answered with a Deprecation header (RFC 9745)
	CORS         []string  `yaml:"cors,omitempty" json:"cors,omitzero"`                                                            // origins that may read answers; default none
	ForwardToken bool      `yaml:"forward_token,omitempty" json:"forward_token,omitzero"`                                          // in a mesh: the service also gets the access token that the client sent, beside the transaction token; default false
}

// Grant permits a group of users some methods on a route.
type Grant struct {
	Anyone  bool     `yaml:"anyone,omitempty" json:"anyone,omitzero"`                                                 // also who did not sign in
	Users   bool     `yaml:"users,omitempty" json:"users,omitzero"`                                                   // whoever signed in
	Roles   []string `yaml:"roles,omitempty" json:"roles,omitzero"`                                                   // any of these
	Scopes  []string `yaml:"scopes,omitempty" json:"scopes,omitzero"`                                                 // all of these must be in the token
	Methods []string `yaml:"methods,omitempty" json:"methods,omitzero" enum:"GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS"` // default: all methods of the route
}

// Limit is a rate by key (GCRA): Rate requests (or cost units) in Window, Burst at once.
type Limit struct {
	Per   string `yaml:"per" json:"per" enum:"address,user,route,service"`            // address, user, route, service
	Rate  Rate   `yaml:"rate" json:"rate"`                                            // 100/1m
	Burst int    `yaml:"burst,omitempty" json:"burst,omitzero" range:"1..1000000000"` // default: the rate's count
	Cost  int    `yaml:"cost,omitempty" json:"cost,omitzero" range:"1..1000000"`      // units one request takes; default 1
	IPv6  int    `yaml:"ipv6,omitempty" json:"ipv6,omitzero" range:"32..128"`         // prefix length that counts as one address; default 64
	Name  string `yaml:"name,omitempty" json:"name,omitzero"`                         // shown in RateLimit-Policy; default such as "address", "orders.user" (service) or "orders.1.route" (its first route). Limits of one name, key and rate count together
}

// WAF sets the inspection of requests by the OWASP Core Rule Set. A zero field means: as the level above.
type WAF struct {
	Mode      string      `yaml:"mode,omitempty" json:"mode,omitzero" enum:"block,detect,off"`    // block (default), detect, off
	Paranoia  int         `yaml:"paranoia,omitempty" json:"paranoia,omitzero" range:"1..4"`       // 1 (default) to 4
	Threshold int         `yaml:"threshold,omitempty" json:"threshold,omitzero" range:"1..10000"` // inbound anomaly score that blocks; default 5
	Body      Size        `yaml:"body,omitempty" json:"body,omitzero"`                            // bytes of body inspected; more is refused; default edge.sizes.body
	Answers   *bool       `yaml:"answers,omitempty" json:"answers,omitzero"`                      // also withhold answers that leak what they should not, such as source code or database errors; default false
	Exclude   []Exclusion `yaml:"exclude,omitempty" json:"exclude,omitzero"`                      // added to those of the level above
}

// Exclusion takes a rule, or one parameter of it, out of inspection.
type Exclusion struct {
	Rule   int    `yaml:"rule,omitempty" json:"rule,omitzero" range:"1..9999999"` // rule id, e.g. 942100
	Tag    string `yaml:"tag,omitempty" json:"tag,omitzero"`                      // instead of Rule: all rules with this tag
	Target string `yaml:"target,omitempty" json:"target,omitzero"`                // parameter, e.g. ARGS:comment; default: the whole rule
	Reason string `yaml:"reason" json:"reason"`                                   // why this is safe; kept in the record
}

// Validate bounds the check of requests against the service's API document. On wherever one is declared.
type Validate struct {
	Off    bool `yaml:"off,omitempty" json:"off,omitzero"`
	Depth  int  `yaml:"depth,omitempty" json:"depth,omitzero" range:"1..256"`      // nesting of JSON; default 32
	Keys   int  `yaml:"keys,omitempty" json:"keys,omitzero" range:"1..1000000"`    // keys of all JSON objects together; default 1000
	Items  int  `yaml:"items,omitempty" json:"items,omitzero" range:"1..10000000"` // items of one JSON array; default 10000
	String Size `yaml:"string,omitempty" json:"string,omitzero"`                   // one JSON string; default: the body's bound
}

// Audit says what happens when a record cannot be written.
type Audit struct {
	Mode       string         `yaml:"mode,omitempty" json:"mode,omitzero" enum:"best-effort,strict"` // best-effort (default) counts the loss; strict refuses the request
	Dir        string         `yaml:"dir,omitempty" json:"dir,omitzero"`                             // where records are kept; default: events in the state directory
	Keep       Size           `yaml:"keep,omitempty" json:"keep,omitzero"`                           // bytes kept on disk; default 1GiB
	Retain     Retain         `yaml:"retain,omitempty" json:"retain,omitzero"`                       // how long events are kept where the fleet's are found
	Bucket     *AuditBucket   `yaml:"bucket,omitempty" json:"bucket,omitzero"`                       // where they lie when their hour is over; default files in the state directory
	Witnesses  []AuditWitness `yaml:"witnesses,omitempty" json:"witnesses,omitzero"`                 // second parties that are asked, each minute, to sign what the ledger has come to; default none
	Pseudonyms bool           `yaml:"pseudonyms,omitempty" json:"pseudonyms,omitzero"`               // events are kept with pseudonyms in place of users' names, so that "palisade erase" can make them nobody's; default false
	Redact     []string       `yaml:"redact,omitempty" json:"redact,omitzero"`                       // names of parameters, headers and JSON fields never recorded
	Shapes     string         `yaml:"shapes,omitempty" json:"shapes,omitzero" enum:"requests,off"`   // record names and types, never values, of headers and fields that the API document does not declare: requests (default) or off
}

// AuditWitness is a second party that signs checkpoints of the ledger which it is sent (C2SP tlog-witness): "palisade audit witness --serve", or
// any other that speaks the protocol. It is sent hashes, and learns how many records there are.
type AuditWitness struct {
	URL string `yaml:"url" json:"url"`                  // before add-checkpoint: https://witness.example/palisade
	Key string `yaml:"key" json:"key"`                  // its public key, as witness.pub has it: name+id+base64
	CA  string `yaml:"ca,omitempty" json:"ca,omitzero"` // PEM roots of its certificate; default the system's
}

// AuditBucket is S3-compatible object storage to which the events that "palisade up" and control keep go, as segments in Parquet, when
// their hour is over. It belongs to one store of events: none shares its prefix. Controls that share a PostgreSQL have none.
type AuditBucket struct {
	URL      string `yaml:"url" json:"url"`                          // where the service is: https://host:port
	Name     string `yaml:"name" json:"name"`                        // of the bucket; it must be there
	Prefix   string `yaml:"prefix,omitempty" json:"prefix,omitzero"` // before the names of all objects, a slash between; default none
	Region   string `yaml:"region,omitempty" json:"region,omitzero"` // default that of the URL at Amazon, else us-east-1
	User     string `yaml:"user" json:"user"`                        // access key id
	Password Value  `yaml:"password" json:"password"`                // reference to the secret access key: {from_env: NAME} or {from_file: PATH}
	CA       string `yaml:"ca,omitempty" json:"ca,omitzero"`         // PEM roots of the service's certificate; default the system's
	Disk     Size   `yaml:"disk,omitempty" json:"disk,omitzero"`     // bytes of the newest segments in the bucket that stay in files, too; default 10GiB
}

// Retain says how long events are kept by "palisade up" and control, by class. Proxies keep theirs by size (audit.keep).
type Retain struct {
	Requests    Duration `yaml:"requests,omitempty" json:"requests,omitzero"`       // default 720h: 30 days
	Connections Duration `yaml:"connections,omitempty" json:"connections,omitzero"` // that are no HTTP; default 720h: 30 days
	Acts        Duration `yaml:"acts,omitempty" json:"acts,omitzero"`               // on the fleet and its identities; default 9600h: 400 days
	Logs        Duration `yaml:"logs,omitempty" json:"logs,omitzero"`               // of services; default 720h: 30 days
	Maps        Duration `yaml:"maps,omitempty" json:"maps,omitzero"`               // of who called whom, hour by hour; default 9600h: 400 days
}

// Telemetry sends traces over OTLP/HTTP.
type Telemetry struct {
	OTLP    string           `yaml:"otlp,omitempty" json:"otlp,omitzero"`                  // http(s)://host:port of a collector; default none
	Sample  float64          `yaml:"sample,omitempty" json:"sample,omitzero" range:"0..1"` // share of new traces; default 0.1 when otlp is set
	Headers map[string]Value `yaml:"headers,omitempty" json:"headers,omitzero"`            // sent to the collector
}

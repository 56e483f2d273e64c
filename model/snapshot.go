package model

// Snapshot is the resolved model as it travels to a proxy: every default filled in, every name looked up,
// every file read, in text form. Each room compiles its own part of it on arrival; compiled forms are never
// serialised. A Snapshot is immutable once Compile has returned it.
type Snapshot struct {
	Version     string             `json:"version"`          // SHA-256 of the rest, hex; Verify holds it against the rest
	Origin      *Origin            `json:"origin,omitempty"` // of no slice, and none of what earlier builds wrote
	Fleet       string             `json:"fleet"`
	TrustDomain string             `json:"trust_domain"`
	Edge        Edge               `json:"edge"` // defaults filled in, paths absolute
	Providers   []ResolvedProvider `json:"providers,omitempty"`
	Roles       []ResolvedRole     `json:"roles,omitempty"`
	Services    []ResolvedService  `json:"services"`
	Routes      []ResolvedRoute    `json:"routes"` // sorted by ID
	Policies    []PolicyFile       `json:"policies,omitempty"`
	Audit       Audit              `json:"audit"`
	Redact      []string           `json:"redact,omitempty"` // lower case, sorted: from audit and data classes
	Telemetry   Telemetry          `json:"telemetry"`
	Export      []ResolvedExport   `json:"export,omitempty"`      // sorted by name; of no slice
	Development bool               `json:"development,omitempty"` // compiled for "palisade up": development providers are honoured
	Intake      *ResolvedIntake    `json:"intake,omitempty"`      // nil without one; of the edge alone
	Mesh        *ResolvedMesh      `json:"mesh,omitempty"`        // nil without one
	Self        string             `json:"self,omitempty"`        // SPIFFE ID of the proxy whose slice this is; empty for the whole
	Callers     []Caller           `json:"callers,omitempty"`     // of a service's slice with policies: who may call it, sorted by name
}

// Origin is from where the places and paths of a snapshot were seen. Neither counts in its version.
type Origin struct {
	Root string `json:"root"` // folder of the model's first file, absolute: paths count as seen from here
	Dir  string `json:"dir"`  // the working directory: relative places are seen from here
}

// ResolvedProvider is a Provider with its name and defaults.
type ResolvedProvider struct {
	Name string `json:"name"`
	Provider
	JWKS []byte `json:"jwks,omitempty"` // content of JWKSFile
}

// ResolvedRole is a role with all that it includes, itself first, the rest sorted.
type ResolvedRole struct {
	Name     string   `json:"name"`
	Includes []string `json:"includes"`
}

// ResolvedExport is an Export with its name. What it refers to is read where events are sent from.
type ResolvedExport struct {
	Name string `json:"name"`
	Export
	Position Position `json:"position"`
}

// ResolvedService is a Service as the data path needs it.
type ResolvedService struct {
	Name     string   `json:"name"`
	Owner    string   `json:"owner,omitempty"`
	Address  string   `json:"address"` // scheme://host:port
	Data     []string `json:"data,omitempty"`
	Retain   Duration `json:"retain,omitzero"` // how long its events are kept at least: of its data, the longest
	Callers  []string `json:"callers,omitempty"`
	API      []byte   `json:"api,omitempty"`      // the OpenAPI document, as written
	APIFile  string   `json:"api_file,omitempty"` // where it stands, for messages
	Upstream Upstream `json:"upstream"`
	CA       []byte   `json:"ca,omitempty"` // content of Upstream.CA
	Limits   []Limit  `json:"limits,omitempty"`
	Position Position `json:"position"`
	Calls    Position `json:"calls,omitzero"` // of callers, where they are written

	// What follows is set in a mesh alone.
	ID        string              `json:"id,omitempty"`        // SPIFFE ID
	Sidecars  []string            `json:"sidecars,omitempty"`  // host:port; none: found through control
	Loopback  string              `json:"loopback,omitempty"`  // address at which its callers find it, behind their own sidecars
	Workloads []Workload          `json:"workloads,omitempty"` // any of these is the service
	Serve     []ResolvedRoute     `json:"serve,omitempty"`     // what other services may ask, sorted by ID; never of a tcp service
	Egress    []Egress            `json:"egress,omitempty"`    // sorted by host and port
	Broker    string              `json:"broker,omitempty"`
	Keys      Value               `json:"broker_keys,omitzero"` // of a broker: where its sidecars find them
	Publish   map[string][]string `json:"publish,omitempty"`    // broker to subjects
	Subscribe map[string][]string `json:"subscribe,omitempty"`
	Clients   []BrokerClient      `json:"clients,omitempty"` // of a broker, sorted by service
}

// Caller is a service that may call another, as policies of the other see it.
type Caller struct {
	Name  string   `json:"name"`
	ID    string   `json:"id"` // SPIFFE ID
	Owner string   `json:"owner,omitempty"`
	Data  []string `json:"data,omitempty"`
}

// BrokerClient is what one service may do at a broker.
type BrokerClient struct {
	Service   string   `json:"service"`
	ID        string   `json:"id"` // SPIFFE ID
	Publish   []string `json:"publish,omitempty"`
	Subscribe []string `json:"subscribe,omitempty"`
}

// ResolvedIntake is an Intake with its defaults and the content of the file it names. Certificates are those of the host that the
// edge runs on.
type ResolvedIntake struct {
	HTTP    string           `json:"http,omitempty"`
	Syslog  string           `json:"syslog,omitempty"`
	TLS     TLS              `json:"tls,omitzero"`
	Roots   []byte           `json:"roots,omitempty"` // PEM
	Sources []ResolvedSource `json:"sources"`         // sorted by name
	Body    Size             `json:"body"`
	Record  Size             `json:"record"`
}

// ResolvedSource is a Source with its name and defaults.
type ResolvedSource struct {
	Name string `json:"name"`
	Source
}

// ResolvedMesh is a Mesh with its defaults and the content of the files it names.
type ResolvedMesh struct {
	SVID        SVID                 `json:"svid"`
	WorkloadAPI string               `json:"workload_api,omitempty"` // an external issuer; empty: our own authority
	Chain       []byte               `json:"chain,omitempty"`        // PEM of the upstream authority, the intermediate first; empty: an own root
	Key         Value                `json:"key,omitzero"`           // reference to the PEM key of the intermediate
	Keys        string               `json:"keys,omitempty"`         // URL of the keeper; empty: a sealed file
	Stale       string               `json:"stale"`                  // stop or serve
	Isolation   string               `json:"isolation"`              // namespace or off
	Control     string               `json:"control"`                // host:port
	Server      ResolvedControl      `json:"server,omitzero"`        // what control itself stands on; of no slice
	Federation  []ResolvedFederation `json:"federation,omitempty"`   // sorted by trust domain
}

// ResolvedControl is a MeshControl with its defaults. Files and references are those of the host that control runs on.
type ResolvedControl struct {
	Listen         string                `json:"listen"`         // host:port
	Admin          string                `json:"admin,omitzero"` // host:port of metrics and health; empty: none
	Store          Value                 `json:"store,omitzero"`
	Bus            ControlBus            `json:"bus"`
	Administrators *Administrators       `json:"administrators,omitempty"`
	Console        *ControlConsole       `json:"console,omitempty"`
	PublishLedger  bool                  `json:"publish_ledger,omitzero"`
	Kubernetes     *TokenReview          `json:"kubernetes,omitempty"`
	Certificates   *ResolvedCertificates `json:"certificates,omitempty"`
	Join           Duration              `json:"join"`
	Grace          Duration              `json:"grace"`
}

// ResolvedCertificates are NodeCertificates with their authorities.
type ResolvedCertificates struct {
	Roots []byte              `json:"roots"` // PEM
	Names map[string][]string `json:"names"`
}

// ResolvedFederation is another trust domain with its first bundle.
type ResolvedFederation struct {
	TrustDomain string `json:"trust_domain"`
	URL         string `json:"url"`
	Profile     string `json:"profile"`               // web or spiffe
	EndpointID  string `json:"endpoint_id,omitempty"` // for profile spiffe
	Bundle      []byte `json:"bundle,omitempty"`      // SPIFFE JSON
}

// ResolvedRoute is one exposure, or one path served to other services, with everything that decides about it.
type ResolvedRoute struct {
	ID           string          `json:"id"` // service + " " + host + path template, e.g. "orders shop.localhost/orders/{id}"; between services "mesh:orders:/orders/{id}"; unique
	Service      string          `json:"service"`
	Host         string          `json:"host"`
	Path         string          `json:"path"`
	Methods      []string        `json:"methods"` // sorted
	Allow        []ResolvedGrant `json:"allow,omitempty"`
	Providers    []string        `json:"providers,omitempty"`
	Anonymous    bool            `json:"anonymous,omitempty"` // some grant names anyone: a missing token is not a 401 by itself
	Limits       []Limit         `json:"limits,omitempty"`    // route, then service, then edge
	WAF          WAF             `json:"waf"`
	Validate     Validate        `json:"validate"` // Off when the service has no document
	Body         Size            `json:"body"`
	Timeout      Duration        `json:"timeout"`
	Upgrade      []string        `json:"upgrade,omitempty"`
	Stream       bool            `json:"stream,omitempty"`
	DryRun       []string        `json:"dry_run,omitempty"`
	Deprecated   bool            `json:"deprecated,omitempty"`
	CORS         []string        `json:"cors,omitempty"`
	ForwardToken bool            `json:"forward_token,omitempty"` // the outside access token goes on into the mesh
	Callers      []string        `json:"callers,omitempty"`       // SPIFFE IDs of the workloads that may ask, sorted; none: clients of the edge, without an identity
	Position     Position        `json:"position"`
}

// ResolvedGrant is a Grant with the place where it stands.
type ResolvedGrant struct {
	Grant
	Position Position `json:"position"`
}

// PolicyFile is a Cedar file as written.
type PolicyFile struct {
	Name string `json:"name"` // path as shown in messages
	Text string `json:"text"`
}

// Position is a place in a user's file. Line and column count from 1; zero means the whole file.
type Position struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// Severity tells whether a finding stops a model from being used.
type Severity string

// The severities of findings.
const (
	Error   Severity = "error"   // the model is not used
	Warning Severity = "warning" // the model is used; "palisade validate" still exits 1
)

// Finding is one mistake in a user's file: what, where, and how to mend it.
type Finding struct {
	Severity Severity `json:"severity"`
	Code     string   `json:"code"` // stable, kebab-case: "unknown-key"
	Position Position `json:"position"`
	Key      string   `json:"key,omitempty"`  // path of the key: services.orders.expose[0].path
	Text     string   `json:"text"`           // what is wrong and what was expected
	Hint     string   `json:"hint,omitempty"` // how to mend it: did you mean "orders"?
	Other    Position `json:"other,omitzero"` // the second place, where two collide
}

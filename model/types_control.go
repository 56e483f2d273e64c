package model

// MeshControl says where control is found, what it stands on, and who administers it ("palisade control"). It reads
// these keys when it starts.
type MeshControl struct {
	Address        string            `yaml:"address,omitempty" json:"address,omitzero"`               // host:port at which proxies and administrators find it; default 127.0.0.1:9950
	Listen         string            `yaml:"listen,omitempty" json:"listen,omitzero"`                 // host:port on which it listens; default: its address, or every address of the host with that port if that is a name
	Admin          string            `yaml:"admin,omitempty" json:"admin,omitzero"`                   // host:port of metrics and health, without authentication; default none
	Store          Value             `yaml:"store,omitempty" json:"store,omitzero"`                   // reference to the URL of a PostgreSQL, which several controls share: {from_env: ...} or {from_file: ...}; default SQLite in the state directory
	Bus            ControlBus        `yaml:"bus,omitempty" json:"bus,omitzero"`                       // over which proxies are told; default a server of its own
	Administrators *Administrators   `yaml:"administrators,omitempty" json:"administrators,omitzero"` // who comes over HTTPS; default nobody: root and the user of control, by its socket
	Console        *ControlConsole   `yaml:"console,omitempty" json:"console,omitzero"`               // what people see of the fleet in a browser, over the network; default none
	PublishLedger  bool              `yaml:"publish_ledger,omitempty" json:"publish_ledger,omitzero"` // show checkpoints and tiles of the ledger below /v1/ledger to whoever reaches control, or "palisade up" where control would listen, for witnesses: hashes, and how many records there are; default false
	Kubernetes     *TokenReview      `yaml:"kubernetes,omitempty" json:"kubernetes,omitzero"`         // service account tokens prove what a proxy is; {} asks the cluster that control runs in
	Certificates   *NodeCertificates `yaml:"certificates,omitempty" json:"certificates,omitzero"`     // certificates of nodes prove what a proxy is
	Join           Duration          `yaml:"join,omitempty" json:"join,omitzero"`                     // longest life of a join token; default 24h; 1m to 720h
	Grace          Duration          `yaml:"grace,omitempty" json:"grace,omitzero"`                   // how long after its end an SVID still proves what a proxy is; default 72h; 1m to 2160h
}

// ControlBus says which NATS carries what control and proxies say to each other. With urls it is a cluster that others
// run, which several controls need; without, a server of control's own.
type ControlBus struct {
	Listen    string   `yaml:"listen,omitempty" json:"listen,omitzero"`                  // host:port of control's own server; default port 4222 where control listens
	URLs      []string `yaml:"urls,omitempty" json:"urls,omitzero"`                      // of the cluster: tls://host:port
	Advertise []string `yaml:"advertise,omitempty" json:"advertise,omitzero"`            // what proxies are told, tls://host:port; default urls, or the own server at the host of control's address
	Replicas  int      `yaml:"replicas,omitempty" json:"replicas,omitzero" range:"1..5"` // of what is kept in the cluster; default 3 with three urls or more, else 1
}

// Administrators come over HTTPS with an access token. Each role may do what those before it may.
type Administrators struct {
	Provider string   `yaml:"provider" json:"provider"`                    // whose tokens are believed
	Audience []string `yaml:"audience" json:"audience"`                    // what must be in "aud"; none that the provider's tokens for the edge have
	Viewer   []string `yaml:"viewer,omitempty" json:"viewer,omitzero"`     // roles that may look: status, plan, history
	Operator []string `yaml:"operator,omitempty" json:"operator,omitzero"` // roles that may apply models, revoke and restore
	Admin    []string `yaml:"admin,omitempty" json:"admin,omitzero"`       // roles that may make join tokens
}

// ControlConsole serves the console over the network. People sign in at the provider of administrators, by the authorization code flow
// with PKCE (OpenID Connect), and may do what their roles may there.
type ControlConsole struct {
	URL          string   `yaml:"url" json:"url"`                                        // where browsers find it: https://console.shop.example:8444
	Listen       string   `yaml:"listen,omitempty" json:"listen,omitzero"`               // host:port on which it listens; default every address of the host with the port of url
	TLS          TLS      `yaml:"tls" json:"tls"`                                        // its certificates
	ClientID     string   `yaml:"client_id" json:"client_id"`                            // under which the provider knows it; it sends people back to url + /sign-in/callback
	ClientSecret Value    `yaml:"client_secret,omitempty" json:"client_secret,omitzero"` // reference: {from_file: ...} or {from_env: ...}; default none, a public client
	Scopes       []string `yaml:"scopes,omitempty" json:"scopes,omitzero"`               // beside openid, such as one that brings roles into ID tokens
}

// TokenReview names the API server that is asked about service account tokens (TokenReview, authentication.k8s.io/v1).
type TokenReview struct {
	URL       string `yaml:"url,omitempty" json:"url,omitzero"`               // default https://kubernetes.default.svc
	Audience  string `yaml:"audience,omitempty" json:"audience,omitzero"`     // what tokens must be made for; default the trust domain
	CA        string `yaml:"ca,omitempty" json:"ca,omitzero"`                 // file with the certificate of its authority; default that of control's own service account
	TokenFile string `yaml:"token_file,omitempty" json:"token_file,omitzero"` // file with control's own token, which may create tokenreviews; default that of its service account
}

// NodeCertificates are certificates that nodes have already.
type NodeCertificates struct {
	Roots string              `yaml:"roots" json:"roots"` // PEM file of the authorities that sign them
	Names map[string][]string `yaml:"names" json:"names"` // DNS name in a certificate to what its holder may be: service/orders, edge/edge
}

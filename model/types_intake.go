package model

// Intake takes log records of services and systems in, so that they live beside the decisions. Nothing listens and nothing is read
// unless it is declared here. Proxies at the edge do this; sidecars do not.
type Intake struct {
	HTTP     string            `yaml:"http,omitempty" json:"http,omitzero"`           // host:port for JSON lines and OTLP logs over HTTPS; default none
	Syslog   string            `yaml:"syslog,omitempty" json:"syslog,omitzero"`       // host:port for syslog over TLS (RFC 5425); default none
	TLS      TLS               `yaml:"tls,omitempty" json:"tls,omitzero"`             // certificates that both show
	ClientCA string            `yaml:"client_ca,omitempty" json:"client_ca,omitzero"` // PEM roots of the certificates that senders show; in a mesh, SVIDs of its services are believed too
	Sources  map[string]Source `yaml:"sources" json:"sources"`                        // whose records are taken
	Body     Size              `yaml:"body,omitempty" json:"body,omitzero"`           // bytes of one HTTP body, unpacked; default 1MiB
	Record   Size              `yaml:"record,omitempty" json:"record,omitzero"`       // bytes of text and attributes of one record, the rest is left out; default 64KiB
}

// Source is somebody whose log records are taken: a sender that shows a key or a certificate, files of this host, or its journal.
type Source struct {
	Service      string   `yaml:"service,omitempty" json:"service,omitzero"`                       // that writes the records; default: what each record names
	Keys         []string `yaml:"keys,omitempty" json:"keys,omitzero"`                             // SHA-256 of API keys, in hexadecimal: the keys themselves are with the sender alone
	Certificates []string `yaml:"certificates,omitempty" json:"certificates,omitzero"`             // SPIFFE IDs or DNS names in certificates of senders
	Files        []string `yaml:"files,omitempty" json:"files,omitzero"`                           // absolute paths of files to follow, with * for any part of a name
	Format       string   `yaml:"format,omitempty" json:"format,omitzero" enum:"docker,cri,lines"` // of the files: docker (json-file), cri (containerd, CRI-O), lines (default)
	Journal      bool     `yaml:"journal,omitempty" json:"journal,omitzero"`                       // follow the journal of systemd
	Records      int      `yaml:"records,omitempty" json:"records,omitzero" range:"1..1000000"`    // quota: records a second; default 1000
	Bytes        Size     `yaml:"bytes,omitempty" json:"bytes,omitzero"`                           // quota: bytes a second; default 1MiB
}

package model

// Mesh gives every service an identity and carries the calls between them through sidecars, over TLS with both
// sides authenticated. Its presence switches it on; without it the keys of services that need it are errors.
type Mesh struct {
	SVID       SVID                  `yaml:"svid,omitempty" json:"svid,omitzero"`
	Issuer     Issuer                `yaml:"issuer,omitempty" json:"issuer,omitzero"`                            // default: an authority of our own with a root of its own
	Keys       string                `yaml:"keys,omitempty" json:"keys,omitzero"`                                // URL of the keeper that wraps signing keys: hashivault, awskms, gcpkms, azurekeyvault, or pkcs11; default a sealed file
	Stale      string                `yaml:"stale,omitempty" json:"stale,omitzero" enum:"stop,serve"`            // control away for longer than an SVID lives: stop (default), or serve on with the last good state
	Federation map[string]Federation `yaml:"federation,omitempty" json:"federation,omitzero"`                    // other trust domains, by name
	Isolation  string                `yaml:"isolation,omitempty" json:"isolation,omitzero" enum:"namespace,off"` // namespace (default): what "palisade up" and "palisade run" start is reached through its sidecar only; off
	Control    MeshControl           `yaml:"control,omitempty" json:"control,omitzero"`
}

// SVID bounds how long identities live (SPIFFE X.509-SVID, JWT-SVID). They are renewed at half their life.
type SVID struct {
	Lifetime    Duration `yaml:"lifetime,omitempty" json:"lifetime,omitzero"`         // of X.509-SVIDs; default 1h; 1m to 24h
	JWTLifetime Duration `yaml:"jwt_lifetime,omitempty" json:"jwt_lifetime,omitzero"` // of JWT-SVIDs; default 5m; 30s to 1h
}

// Issuer says who signs identities. At most one of WorkloadAPI and Upstream is set.
type Issuer struct {
	WorkloadAPI string             `yaml:"workload_api,omitempty" json:"workload_api,omitzero"` // an external SPIFFE Workload API instead of our own authority: unix:///run/spire/agent.sock
	Upstream    *UpstreamAuthority `yaml:"upstream,omitempty" json:"upstream,omitzero"`         // an authority that has signed our intermediate, instead of an own root
}

// UpstreamAuthority is an intermediate that another authority has signed.
type UpstreamAuthority struct {
	Chain string `yaml:"chain" json:"chain"` // PEM: the intermediate first, the root last
	Key   Value  `yaml:"key" json:"key"`     // PEM key of the intermediate: {from_file: ...} or {from_env: ...}
}

// Federation is another trust domain whose identities are recognised (SPIFFE Federation).
type Federation struct {
	URL        string `yaml:"url" json:"url"`                                              // https URL of its bundle endpoint
	Profile    string `yaml:"profile,omitempty" json:"profile,omitzero" enum:"web,spiffe"` // how the endpoint proves itself: web (default) with a public certificate, spiffe with an SVID
	EndpointID string `yaml:"endpoint_id,omitempty" json:"endpoint_id,omitzero"`           // SPIFFE ID of the endpoint; for profile spiffe
	Bundle     string `yaml:"bundle,omitempty" json:"bundle,omitzero"`                     // file with its first bundle (SPIFFE JSON); profile spiffe needs it unless the endpoint's trust domain is known otherwise
}

// Sidecar says where the sidecars of a service are found.
type Sidecar struct {
	Addresses []string `yaml:"addresses,omitempty" json:"addresses,omitzero"` // host:port on which they take mTLS calls; default: found through control, on loopback under "palisade up"
}

// Workload says what may be a service. All selectors it names must match.
type Workload struct {
	Unix       *UnixSelector       `yaml:"unix,omitempty" json:"unix,omitzero"`
	Container  *ContainerSelector  `yaml:"container,omitempty" json:"container,omitzero"`
	Kubernetes *KubernetesSelector `yaml:"kubernetes,omitempty" json:"kubernetes,omitzero"`
}

// UnixSelector matches a process by what the kernel says about it.
type UnixSelector struct {
	User   string `yaml:"user,omitempty" json:"user,omitzero"`     // name or number
	Path   string `yaml:"path,omitempty" json:"path,omitzero"`     // absolute path of the executable
	SHA256 string `yaml:"sha256,omitempty" json:"sha256,omitzero"` // of the executable, hex
}

// ContainerSelector matches a process in a container by what the runtime says about it.
type ContainerSelector struct {
	Image  string            `yaml:"image,omitempty" json:"image,omitzero"`   // digest of the image: sha256:...
	Labels map[string]string `yaml:"labels,omitempty" json:"labels,omitzero"` // all of these
}

// KubernetesSelector matches a pod by its projected service-account token.
type KubernetesSelector struct {
	Namespace      string `yaml:"namespace" json:"namespace"`
	ServiceAccount string `yaml:"service_account" json:"service_account"`
}

// Serve says what callers of a service may ask. The most specific path decides.
type Serve struct {
	Path     string    `yaml:"path" json:"path"`                                                                               // as in expose; of gRPC /package.Service/Method
	Methods  []string  `yaml:"methods,omitempty" json:"methods,omitzero" enum:"GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS"`        // default all
	Callers  []string  `yaml:"callers,omitempty" json:"callers,omitzero"`                                                      // default all callers of the service
	Users    []Grant   `yaml:"users,omitempty" json:"users,omitzero"`                                                          // only on behalf of such an end user; default with or without one
	Limits   []Limit   `yaml:"limits,omitempty" json:"limits,omitzero"`                                                        // for this path, beside those of the service
	WAF      *WAF      `yaml:"waf,omitempty" json:"waf,omitzero"`                                                              // inspected only when this is here; unset keys are the fleet's
	Validate *Validate `yaml:"validate,omitempty" json:"validate,omitzero"`                                                    // validated only when this is here
	Body     Size      `yaml:"body,omitempty" json:"body,omitzero"`                                                            // default 1GiB; edge.sizes.body with waf or validate
	Timeout  Duration  `yaml:"timeout,omitempty" json:"timeout,omitzero"`                                                      // overrides the service's
	DryRun   []string  `yaml:"dry_run,omitempty" json:"dry_run,omitzero" enum:"authenticate,authorise,limit,inspect,validate"` // stages that decide and record, but do not refuse
}

// Egress is one host outside the fleet that a service may reach.
type Egress struct {
	Host     string `yaml:"host" json:"host"`                                                // exact name; for http and tcp also a public address
	Port     int    `yaml:"port,omitempty" json:"port,omitzero" range:"1..65535"`            // default 443 for tls, 80 for http
	Protocol string `yaml:"protocol,omitempty" json:"protocol,omitzero" enum:"tls,http,tcp"` // how the host is recognised: tls (default) by SNI, http by the Host of every request, tcp by address
}

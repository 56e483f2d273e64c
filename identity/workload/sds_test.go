package workload

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
)

// envoy is what an Envoy of a version says of itself.
func envoy(major, minor uint32) *corev3.Node {
	return &corev3.Node{Id: "edge", UserAgentName: "envoy", UserAgentVersionType: &corev3.Node_UserAgentBuildVersion{
		UserAgentBuildVersion: &corev3.BuildVersion{Version: &typev3.SemanticVersion{MajorNumber: major, MinorNumber: minor}},
	}}
}

// secrets unpacks an answer by name.
func secrets(t testing.TB, res *discoveryv3.DiscoveryResponse) map[string]*tlsv3.Secret {
	t.Helper()
	out := map[string]*tlsv3.Secret{}
	for _, r := range res.Resources {
		var s tlsv3.Secret
		if err := r.UnmarshalTo(&s); err != nil {
			t.Fatal(err)
		}
		if err := s.ValidateAll(); err != nil {
			t.Errorf("Envoy's own rules: %v", err)
		}
		out[s.Name] = &s
	}
	return out
}

// pair reads a certificate as Envoy does: PEM chain and key that belong together.
func pair(t testing.TB, s *tlsv3.Secret) tls.Certificate {
	t.Helper()
	cert, err := tls.X509KeyPair(s.GetTlsCertificate().GetCertificateChain().GetInlineBytes(), s.GetTlsCertificate().GetPrivateKey().GetInlineBytes())
	if err != nil {
		t.Fatalf("secret %q: %v", s.GetName(), err)
	}
	return cert
}

// trusts reads which domains a validation context trusts; plain roots are "*".
func trusts(t testing.TB, s *tlsv3.Secret) []string {
	t.Helper()
	context := s.GetValidationContext()
	roots := func(text []byte) {
		if !x509.NewCertPool().AppendCertsFromPEM(text) {
			t.Errorf("secret %q has no roots", s.GetName())
		}
	}
	if ca := context.GetTrustedCa(); ca != nil {
		roots(ca.GetInlineBytes())
		return []string{"*"}
	}
	var config tlsv3.SPIFFECertValidatorConfig
	if err := context.GetCustomValidatorConfig().GetTypedConfig().UnmarshalTo(&config); err != nil || context.CustomValidatorConfig.Name != validator {
		t.Fatalf("secret %q: %v", s.GetName(), err)
	}
	var out []string
	for _, d := range config.TrustDomains {
		roots(d.TrustBundle.GetInlineBytes())
		out = append(out, d.Name)
	}
	return out
}

func TestFetchSecrets(t *testing.T) {
	f := newFixture(t, nil)
	c := secretv3.NewSecretDiscoveryServiceClient(dial(t, f.path))
	own, friend, id := f.ca.domain.IDString(), f.ca.friend.IDString(), f.id(t, "catalog").String()
	for name, tc := range map[string]struct {
		node  *corev3.Node
		names []string
		want  map[string]string // name -> domains trusted, or "certificate"
		code  codes.Code
	}{
		"what Envoy's examples ask for": {envoy(1, 30), []string{"default", "ROOTCA"}, map[string]string{"default": "certificate", "ROOTCA": "shop.example"}, 0},
		"by SPIFFE ID and trust domain": {envoy(1, 30), []string{id, own, friend}, map[string]string{id: "certificate", own: "shop.example", friend: "friend.example"}, 0},
		"all domains":                   {envoy(1, 18), []string{"ALL"}, map[string]string{"ALL": "friend.example shop.example"}, 0},
		"no names":                      {envoy(2, 0), nil, map[string]string{id: "certificate", own: "shop.example", friend: "friend.example"}, 0},
		"one twice":                     {envoy(1, 30), []string{"default", "default", ""}, map[string]string{"default": "certificate"}, 0},
		"old Envoy":                     {envoy(1, 17), []string{"ROOTCA"}, map[string]string{"ROOTCA": "*"}, 0},
		"unknown client":                {nil, []string{"ROOTCA"}, map[string]string{"ROOTCA": "*"}, 0},
		"all domains, old Envoy":        {envoy(1, 17), []string{"ALL"}, nil, codes.PermissionDenied},
		"the identity of another":       {envoy(1, 30), []string{"default", f.id(t, "payments").String()}, nil, codes.PermissionDenied},
		"too many names":                {envoy(1, 30), slices.Repeat([]string{"x"}, maxNames+1), nil, codes.InvalidArgument},
		"too long a name":               {envoy(1, 30), []string{strings.Repeat("x", maxName+1)}, nil, codes.InvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := c.FetchSecrets(t.Context(), &discoveryv3.DiscoveryRequest{TypeUrl: secretType, Node: tc.node, ResourceNames: tc.names})
			wantCode(t, err, tc.code)
			if err != nil {
				return
			}
			got := secrets(t, res)
			if len(got) != len(tc.want) {
				t.Errorf("%d secrets, want %d", len(got), len(tc.want))
			}
			for name, want := range tc.want {
				if want == "certificate" {
					if cert := pair(t, got[name]); cert.Leaf.URIs[0].String() != id {
						t.Errorf("secret %q is %v", name, cert.Leaf.URIs)
					}
				} else if got := strings.Join(trusts(t, got[name]), " "); got != want {
					t.Errorf("secret %q trusts %q, want %q", name, got, want)
				}
			}
		})
	}
	_, err := c.FetchSecrets(t.Context(), &discoveryv3.DiscoveryRequest{TypeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster"})
	wantCode(t, err, codes.InvalidArgument)
	f.me(t)
	_, err = c.FetchSecrets(t.Context(), &discoveryv3.DiscoveryRequest{ResourceNames: []string{"default"}})
	wantCode(t, err, codes.PermissionDenied)
}

// An Envoy-like client: subscribe, acknowledge, see a rotation, reject one, change the names.
func TestStreamSecrets(t *testing.T) {
	f := newFixture(t, nil)
	stream, err := secretv3.NewSecretDiscoveryServiceClient(dial(t, f.path)).StreamSecrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send := func(req *discoveryv3.DiscoveryRequest) {
		t.Helper()
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
	}
	receive := func() *discoveryv3.DiscoveryResponse {
		t.Helper()
		res, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	names := []string{"default"}
	send(&discoveryv3.DiscoveryRequest{TypeUrl: secretType, Node: envoy(1, 30), ResourceNames: names})
	first := receive()
	serial := pair(t, secrets(t, first)["default"]).Leaf.SerialNumber
	send(&discoveryv3.DiscoveryRequest{TypeUrl: secretType, VersionInfo: first.VersionInfo, ResponseNonce: first.Nonce, ResourceNames: names})

	f.renewer.Renew()
	second := receive() // an acknowledgement brings no answer: this is the rotation
	if s := pair(t, secrets(t, second)["default"]).Leaf.SerialNumber; s.Cmp(serial) == 0 || second.VersionInfo == first.VersionInfo || second.Nonce == first.Nonce {
		t.Errorf("after rotation: serial %v, version %q, nonce %q", s, second.VersionInfo, second.Nonce)
	}
	send(&discoveryv3.DiscoveryRequest{ // a rejection: the version that is still in force, and why
		TypeUrl: secretType, VersionInfo: first.VersionInfo, ResponseNonce: second.Nonce, ResourceNames: names,
		ErrorDetail: &rpcstatus.Status{Code: 13, Message: "cannot load the key\n" + strings.Repeat("x", 4096)},
	})
	send(&discoveryv3.DiscoveryRequest{ // about the first answer, late: not heard
		TypeUrl: secretType, VersionInfo: first.VersionInfo, ResponseNonce: first.Nonce, ResourceNames: []string{"late"},
	})
	names = []string{"default", "ROOTCA"}
	send(&discoveryv3.DiscoveryRequest{TypeUrl: secretType, VersionInfo: first.VersionInfo, ResponseNonce: second.Nonce, ResourceNames: names})
	third := receive() // the rejected secret was not sent again; this answers the new name
	if got := secrets(t, third); len(got) != 2 || strings.Join(trusts(t, got["ROOTCA"]), " ") != "shop.example" {
		t.Errorf("secrets %v", got)
	}
	if log := f.log.String(); !strings.Contains(log, "secrets were rejected") || !strings.Contains(log, "cannot load the key") || len(log) > 4096 {
		t.Errorf("log: %s", log)
	}
	send(&discoveryv3.DiscoveryRequest{TypeUrl: secretType, VersionInfo: third.VersionInfo, ResponseNonce: third.Nonce, ResourceNames: []string{"other"}})
	_, err = stream.Recv()
	wantCode(t, err, codes.PermissionDenied)
}

// The other half of the protocol: only what changed is sent.
func TestDeltaSecrets(t *testing.T) {
	f := newFixture(t, nil)
	stream, err := secretv3.NewSecretDiscoveryServiceClient(dial(t, f.path)).DeltaSecrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(req *discoveryv3.DeltaDiscoveryRequest) {
		t.Helper()
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
	}
	receive := func() (changed, removed []string, versions map[string]string) {
		t.Helper()
		res, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		versions = map[string]string{}
		for _, r := range res.Resources {
			changed = append(changed, r.Name)
			versions[r.Name] = r.Version
		}
		ask(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: secretType, ResponseNonce: res.Nonce})
		return changed, res.RemovedResources, versions
	}
	friend := f.ca.friend.IDString()
	ask(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: secretType, Node: envoy(1, 30), ResourceNamesSubscribe: []string{"default", "ROOTCA", friend, "nothing"}})
	changed, removed, versions := receive()
	if !slices.Equal(changed, []string{"default", "ROOTCA", friend}) || !slices.Equal(removed, []string{"nothing"}) {
		t.Errorf("first: %v, removed %v", changed, removed)
	}
	f.renewer.Renew()
	if changed, removed, _ := receive(); !slices.Equal(changed, []string{"default"}) || removed != nil {
		t.Errorf("rotation: %v, removed %v", changed, removed)
	}
	f.ca.defederate()
	if changed, removed, _ := receive(); changed != nil || !slices.Equal(removed, []string{friend}) {
		t.Errorf("end of federation: %v, removed %v", changed, removed)
	}
	ask(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: secretType, ResourceNamesUnsubscribe: []string{"default"}, ResourceNamesSubscribe: []string{"ROOTCA"}})
	if changed, _, again := receive(); !slices.Equal(changed, []string{"ROOTCA"}) || again["ROOTCA"] != versions["ROOTCA"] {
		t.Errorf("asked again: %v", changed)
	}

	// A client that comes back with what it has gets nothing it has.
	back, err := secretv3.NewSecretDiscoveryServiceClient(dial(t, f.path)).DeltaSecrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := back.Send(&discoveryv3.DeltaDiscoveryRequest{
		Node: envoy(1, 30), ResourceNamesSubscribe: []string{"ROOTCA", "default"}, InitialResourceVersions: map[string]string{"ROOTCA": versions["ROOTCA"]},
	}); err != nil {
		t.Fatal(err)
	}
	if res, err := back.Recv(); err != nil || len(res.Resources) != 1 || res.Resources[0].Name != "default" {
		t.Errorf("came back: %v, %v", res, err)
	}
}

// No request makes a conversation fail, whatever it says.
func FuzzStreamSecrets(f *testing.F) {
	f.Add("default", "ROOTCA", "", "", uint32(1), uint32(30))
	f.Add("ALL", "spiffe://shop.example", "v", "n", uint32(0), uint32(0))
	c := newCA(f, "shop.example")
	id, err := ServiceID(c.domain, "catalog")
	if err != nil {
		f.Fatal(err)
	}
	key := p256(f)
	chain, err := c.SignX509(f.Context(), id, key.Public())
	if err != nil {
		f.Fatal(err)
	}
	v := &view{identities: []Identity{{ID: id}}, svids: []*SVID{{id, chain, key}}, bundles: c.bundles}
	f.Fuzz(func(t *testing.T, a, b, version, nonce string, major, minor uint32) {
		_ = checkNames(version, []string{a, b})
		for _, name := range []string{a, b} {
			s, err := v.secret(name, newer(envoy(major, minor)))
			if err != nil {
				t.Error(err)
			}
			if s != nil && (s.Name != name || s.ValidateAll() != nil) {
				t.Errorf("secret %q for %q", s.Name, name)
			}
		}
		sub := subscription{names: []string{a, b}, has: map[string]string{a: version}, newer: newer(envoy(major, minor))}
		d := &sds{}
		first, err := d.delta(t.Context(), &sub, v)
		if err != nil {
			t.Error(err)
		}
		if again, err := d.delta(t.Context(), &sub, v); err != nil || again != nil {
			t.Errorf("%v is sent twice: %v, %v", first, again, err)
		}
	})
}

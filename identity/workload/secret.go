package workload

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Names of secrets beside SPIFFE IDs and trust domains, the same as SPIRE's, so that an Envoy configured for
// one works with the other.
const (
	defaultSVID   = "default" // the caller's default SVID
	defaultBundle = "ROOTCA"  // the bundle of our own trust domain
	allBundles    = "ALL"     // all bundles, each for its own trust domain
)

const validator = "envoy.tls.cert_validator.spiffe"

// newer tells whether Envoy has its SPIFFE validator (1.18 and later), which keeps each trust domain to its own
// bundle. An older one gets plain roots and no ALL: with plain roots any domain could speak for any other.
func newer(node *corev3.Node) bool {
	v := node.GetUserAgentBuildVersion().GetVersion()
	return v.GetMajorNumber() > 1 || v.GetMajorNumber() == 1 && v.GetMinorNumber() > 17
}

// secret returns the secret of a name, nil if the caller has none of that name.
func (v *view) secret(name string, spiffe bool) (*tlsv3.Secret, error) {
	switch name {
	case defaultSVID:
		return certificate(name, v.svids[0])
	case defaultBundle:
		return v.validation(name, spiffe, v.bundles.Own), nil
	case allBundles:
		if !spiffe {
			return nil, nil
		}
		return v.validation(name, spiffe, slices.Collect(maps.Keys(v.bundles.All))...), nil
	}
	for domain := range v.bundles.All {
		if name == domain.IDString() {
			return v.validation(name, spiffe, domain), nil
		}
	}
	for _, svid := range v.svids {
		if name == svid.ID.String() {
			return certificate(name, svid)
		}
	}
	return nil, nil
}

// names are the secrets that a caller gets who names none: each SVID and each bundle under its own name.
func (v *view) names() []string {
	var out []string
	for _, svid := range v.svids {
		out = append(out, svid.ID.String())
	}
	for domain := range v.bundles.All {
		out = append(out, domain.IDString())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func certificate(name string, svid *SVID) (*tlsv3.Secret, error) {
	key, err := x509.MarshalPKCS8PrivateKey(svid.Key)
	if err != nil {
		return nil, fmt.Errorf("encoding the key of %s: %w", svid.ID, err)
	}
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
		CertificateChain: inline(pemCerts(svid.Chain)),
		PrivateKey:       inline(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
	}}}, nil
}

// validation says how to verify peers of the given trust domains.
func (v *view) validation(name string, spiffe bool, domains ...TrustDomain) *tlsv3.Secret {
	slices.SortFunc(domains, func(a, b TrustDomain) int { return cmp.Compare(a.Name(), b.Name()) })
	validation := &tlsv3.CertificateValidationContext{}
	if spiffe {
		config := &tlsv3.SPIFFECertValidatorConfig{}
		for _, domain := range domains {
			config.TrustDomains = append(config.TrustDomains, &tlsv3.SPIFFECertValidatorConfig_TrustDomain{
				Name: domain.Name(), TrustBundle: inline(pemCerts(v.bundles.All[domain].X509)),
			})
		}
		validation.CustomValidatorConfig = &corev3.TypedExtensionConfig{Name: validator, TypedConfig: packed(config)}
	} else {
		validation.TrustedCa = inline(pemCerts(v.bundles.All[domains[0]].X509))
	}
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{ValidationContext: validation}}
}

func inline(text []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: text}}
}

func pemCerts(certs []*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// packed wraps a message; the same message always gives the same bytes, so that they can serve as a version.
func packed(m proto.Message) *anypb.Any {
	out := &anypb.Any{}
	// Fails only for a message with strings that are not UTF-8, which certificates and names cannot bring.
	_ = anypb.MarshalFrom(out, m, proto.MarshalOptions{Deterministic: true})
	return out
}

// versionOf names content: the same secrets have the same version, on every stream and after a restart.
func versionOf(secrets ...*anypb.Any) string {
	hash := sha256.New()
	for _, s := range secrets {
		sum := sha256.Sum256(s.Value)
		_, _ = hash.Write(sum[:])
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}
